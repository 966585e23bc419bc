// SPDX-License-Identifier: MIT
#include "base/parse.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// How a wrong text is quoted in a message: enough to be recognised.
#define SHOWN "\"%.60s\""

struct unit {
	const char *name;
	int64_t factor;
};

// Largest first: formatting takes the first one that divides the value.
static const struct unit durations[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
static const struct unit sizes[] = {
	{ "GB", 1 << 30 },  { "MB", 1 << 20 },  { "kB", 1 << 10 },  { "", 1 },
	{ "GiB", 1 << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 },
};

enum digits { DIGITS_NONE, DIGITS_OVERFLOW, DIGITS_OK };

// Reads the digits at *text and moves it behind them, also on overflow.
static enum digits read_digits(const char **text, int64_t *ret_value)
{
	const char *s = *text;
	size_t count = strspn(s, "0123456789");
	*text += count;
	if (!count)
		return DIGITS_NONE;
	int64_t value = 0;
	for (size_t i = 0; i < count; i++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, s[i] - '0', &value))
			return DIGITS_OVERFLOW;
	*ret_value = value;
	return DIGITS_OK;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *name,
				    bool ignore_case)
{
	for (size_t i = 0; i < count; i++)
		if (!(ignore_case ? strcasecmp : strcmp)(units[i].name, name))
			return &units[i];
	return NULL;
}

static bool too_large(const char *text, struct err *e)
{
	return err_set(e, ERR_USAGE, SHOWN " is too large", text);
}

bool parse_duration_ms(const char *text, int64_t *ret_ms, struct err *e)
{
	static const char advice[] = "write a number and a unit (ms, s, m, h or d), for example 30s";
	const char *rest = text;
	int64_t value = 0;
	enum digits got = read_digits(&rest, &value);
	const struct unit *unit = find_unit(durations, array_len(durations), rest, false);

	if (got == DIGITS_NONE || (*rest && !unit))
		return err_set(e, ERR_USAGE, SHOWN " is not a duration: %s", text, advice);
	if (!unit && value == 0 && got == DIGITS_OK) {
		*ret_ms = 0;
		return true;
	}
	if (!unit)
		return err_set(e, ERR_USAGE, SHOWN " has no unit: %s", text, advice);
	if (got == DIGITS_OVERFLOW || __builtin_mul_overflow(value, unit->factor, &value))
		return too_large(text, e);
	*ret_ms = value;
	return true;
}

bool parse_size(const char *text, int64_t *ret_bytes, struct err *e)
{
	const char *rest = text;
	int64_t value = 0;
	enum digits got = read_digits(&rest, &value);
	const struct unit *unit = find_unit(sizes, array_len(sizes), rest, true);

	if (got == DIGITS_NONE || !unit)
		return err_set(e, ERR_USAGE,
			       SHOWN
			       " is not a size: write bytes, or a number with kB, MB or GB, for example 1MB",
			       text);
	if (got == DIGITS_OVERFLOW || __builtin_mul_overflow(value, unit->factor, &value))
		return too_large(text, e);
	*ret_bytes = value;
	return true;
}

// "-9223372036854775808" is a valid int64_t although its digits alone overflow.
static bool is_int64_min(const char *digits)
{
	digits += strspn(digits, "0");
	return !strcmp(digits, "9223372036854775808");
}

bool parse_int(const char *text, int64_t *ret_value, struct err *e)
{
	bool negative = *text == '-';
	const char *rest = text + negative;
	int64_t value = 0;
	enum digits got = read_digits(&rest, &value);

	if (got == DIGITS_NONE || *rest)
		return err_set(e, ERR_USAGE, SHOWN " is not a whole number", text);
	if (got == DIGITS_OVERFLOW) {
		if (!negative || !is_int64_min(text + 1))
			return err_set(e, ERR_USAGE, SHOWN " is too %s", text, negative ? "small" : "large");
		*ret_value = INT64_MIN;
		return true;
	}
	*ret_value = negative ? -value : value;
	return true;
}

bool parse_bool(const char *text, bool *ret_value, struct err *e)
{
	static const char *const words[][2] = {
		{ "false", "true" },
		{ "no", "yes" },
		{ "off", "on" },
		{ "0", "1" },
	};
	for (size_t i = 0; i < array_len(words); i++) {
		for (int value = 0; value <= 1; value++) {
			if (!strcasecmp(text, words[i][value])) {
				*ret_value = value;
				return true;
			}
		}
	}
	return err_set(e, ERR_USAGE, SHOWN " is neither true nor false (yes/no, on/off and 1/0 will do too)",
		       text);
}

static void format(int64_t value, const struct unit *units, char out[32])
{
	assert(value >= 0);
	while (value % units->factor)
		units++;
	snprintf(out, 32, "%" PRId64 "%s", value / units->factor, units->name);
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

bool parse_fingerprint(const char *text, unsigned char ret_sha256[32], struct err *e)
{
	unsigned char sum[32];
	const char *s = text;

	for (size_t i = 0; i < sizeof(sum); i++) {
		if (i > 0 && *s == ':')
			s++;
		int high = hex_digit(s[0]), low = high < 0 ? -1 : hex_digit(s[1]);
		if (low < 0)
			return err_set(e, ERR_USAGE,
				       SHOWN " is not the SHA-256 of a certificate: 64 hexadecimal digits",
				       text);
		sum[i] = (unsigned char)(high * 16 + low);
		s += 2;
	}
	if (*s)
		return err_set(e, ERR_USAGE, SHOWN " is longer than the SHA-256 of a certificate", text);
	memcpy(ret_sha256, sum, sizeof(sum));
	return true;
}

void parse_format_duration(int64_t ms, char out[32])
{
	if (!ms)
		memcpy(out, "0", 2);
	else
		format(ms, durations, out);
}

void parse_format_size(int64_t bytes, char out[32])
{
	if (!bytes)
		memcpy(out, "0", 2);
	else
		format(bytes, sizes, out);
}

size_t utf8_cut(const char *text, size_t max)
{
	size_t n = strnlen(text, max + 1);

	if (n <= max)
		return n;
	for (n = max; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80;)
		n--;
	return n;
}

void utf8_copy(const char *text, char *out, size_t cap)
{
	snprintf(out, cap, "%.*s", (int)utf8_cut(text, cap - 1), text);
}

bool list_has(const char *names, const char *word, size_t len)
{
	static const char between[] = ", \t";

	for (const char *name = names + strspn(names, between); *name; name += strspn(name, between)) {
		size_t n = strcspn(name, between);

		if (n == len && memcmp(name, word, len) == 0)
			return true;
		name += n;
	}
	return false;
}
