// SPDX-License-Identifier: MIT
// Durations, sizes and whole numbers: read as a plain reading with 128 bits says, and what is printed of a value is
// read as the same value.
#include "base/attr.h"
#include "base/parse.h"
#include "fuzz.h"

#include <strings.h>

__extension__ typedef __int128 wide;

static const struct unit {
	const char *name;
	int64_t factor;
} durations[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } },
  sizes[] = { { "", 1 },          { "kb", 1024 },       { "kib", 1024 },      { "mb", 1048576 },
	      { "mib", 1048576 }, { "gb", 1073741824 }, { "gib", 1073741824 } };

// digits + unit: the value, -1 for what is neither, -2 for what does not fit.
static wide read_plainly(const char *text, const struct unit *units, size_t count,
			 int (*compare)(const char *, const char *))
{
	size_t digits = strspn(text, "0123456789");
	wide value = 0;

	for (size_t i = 0; i < digits; i++)
		value = value > INT64_MAX ? value : value * 10 + (text[i] - '0');
	for (size_t i = 0; digits && i < count; i++)
		if (compare(units[i].name, text + digits) == 0)
			return value * units[i].factor > INT64_MAX ? -2 : value * units[i].factor;
	return -1;
}

static void check_duration(const char *text)
{
	struct err e = { .kind = ERR_NONE };
	bool zero = *text && text[strspn(text, "0")] == '\0';
	wide expected = zero ? 0 : read_plainly(text, durations, array_len(durations), strcmp);
	int64_t value = -7;
	bool ok = parse_duration_ms(text, &value, &e);

	check(ok == (expected >= 0) && value == (ok ? (int64_t)expected : -7));
	check(ok || (e.kind == ERR_USAGE && e.text[0]));
}

static void check_size(const char *text)
{
	struct err e = { .kind = ERR_NONE };
	wide expected = read_plainly(text, sizes, array_len(sizes), strcasecmp);
	int64_t value = -7;
	bool ok = parse_size(text, &value, &e);

	check(ok == (expected >= 0) && value == (ok ? (int64_t)expected : -7));
	check(ok || (e.kind == ERR_USAGE && e.text[0]));
}

static void check_int(const char *text)
{
	static const struct unit none[] = { { "", 1 } };
	struct err e = { .kind = ERR_NONE };
	bool minus = *text == '-';
	wide expected = read_plainly(text + minus, none, 1, strcmp);
	bool lowest = minus && expected == -2 &&
		      !strcmp(text + 1 + strspn(text + 1, "0"), "9223372036854775808");
	int64_t value = 7;
	bool flag = false;
	bool ok = parse_int(text, &value, &e);

	check(ok == (expected >= 0 || lowest));
	check(!ok || value == (lowest ? INT64_MIN : minus ? -(int64_t)expected : (int64_t)expected));
	check(ok || (value == 7 && e.kind == ERR_USAGE && e.text[0]));
	check(parse_bool(text, &flag, &e) || !flag);
}

static void check_round_trip(int64_t value)
{
	char text[32];
	int64_t again = -1;

	parse_format_duration(value, text);
	check(strlen(text) < sizeof(text) && parse_duration_ms(text, &again, NULL) && again == value);
	parse_format_size(value, text);
	check(strlen(text) < sizeof(text) && parse_size(text, &again, NULL) && again == value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = feed_copy(data, size);
	uint64_t bits = 0;

	check_duration(text);
	check_size(text);
	check_int(text);
	memcpy(&bits, data, size < sizeof(bits) ? size : sizeof(bits));
	check_round_trip((int64_t)(bits & INT64_MAX));
	check_round_trip((int64_t)(bits % 100000) * 3600000);
	check_round_trip((int64_t)(bits % 100000) << 20);
	free(text);
	return 0;
}
