// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef bool parse_number(const char *text, int64_t *ret, struct err *e);

struct row {
	const char *text;
	int64_t value;
	const char *error; // part of the message; NULL = must be read
};

static void check(parse_number *parse, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct err e = { .kind = ERR_NONE };
		int64_t value = -77;
		bool ok = parse(rows[i].text, &value, &e);
		if (!ok)
			assert_int_equal(value, -77); // written only on success
		if (rows[i].error) {
			if (ok)
				fail_msg("\"%s\" was read", rows[i].text);
			if (!strstr(e.text, rows[i].error))
				fail_msg("\"%s\": %s", rows[i].text, e.text);
			assert_int_equal(e.kind, ERR_USAGE);
		} else {
			if (!ok)
				fail_msg("%s", e.text);
			assert_true(value == rows[i].value);
		}
	}
}

static void integers(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "0", 0, NULL },
		{ "-0", 0, NULL },
		{ "42", 42, NULL },
		{ "-42", -42, NULL },
		{ "007", 7, NULL },
		{ "9223372036854775807", INT64_MAX, NULL },
		{ "-9223372036854775807", -INT64_MAX, NULL },
		{ "-9223372036854775808", INT64_MIN, NULL },
		{ "-0009223372036854775808", INT64_MIN, NULL },
		{ "9223372036854775808", 0, "too large" },
		{ "19223372036854775808", 0, "too large" },
		{ "-9223372036854775809", 0, "too small" },
		{ "-92233720368547758080", 0, "too small" },
		{ "99999999999999999999999999999999999999", 0, "too large" },
		{ "", 0, "not a whole number" },
		{ "-", 0, "not a whole number" },
		{ "--1", 0, "not a whole number" },
		{ "+1", 0, "not a whole number" },
		{ " 1", 0, "not a whole number" },
		{ "1 ", 0, "not a whole number" },
		{ "1.0", 0, "not a whole number" },
		{ "0x10", 0, "not a whole number" },
		{ "1e3", 0, "not a whole number" },
		{ "99999999999999999999x", 0, "not a whole number" },
		{ "\xd9\xa1", 0, "not a whole number" }, // ARABIC-INDIC DIGIT ONE
	};
	check(parse_int, rows, array_len(rows));
}

static void durations(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "0", 0, NULL },
		{ "00", 0, NULL },
		{ "0s", 0, NULL },
		{ "250ms", 250, NULL },
		{ "5s", 5000, NULL },
		{ "10m", 600000, NULL },
		{ "2h", 7200000, NULL },
		{ "7d", 604800000, NULL },
		{ "9223372036854775807ms", INT64_MAX, NULL },
		{ "106751991167d", 9223372036828800000, NULL },
		{ "106751991168d", 0, "too large" },
		{ "9223372036854775808ms", 0, "too large" },
		{ "9223372036854776s", 0, "too large" },
		{ "5", 0, "no unit" },
		{ "99999999999999999999", 0, "no unit" },
		{ "", 0, "not a duration" },
		{ "s", 0, "not a duration" },
		{ "-5s", 0, "not a duration" },
		{ "5 s", 0, "not a duration" },
		{ "5S", 0, "not a duration" },
		{ "5sec", 0, "not a duration" },
		{ "1h30m", 0, "not a duration" },
		{ "1.5s", 0, "not a duration" },
		{ "5s ", 0, "not a duration" },
		{ "5\n", 0, "not a duration" },
	};
	check(parse_duration_ms, rows, array_len(rows));
}

static void sizes(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "0", 0, NULL },
		{ "512", 512, NULL },
		{ "64kB", 65536, NULL },
		{ "64KB", 65536, NULL },
		{ "64KiB", 65536, NULL },
		{ "1MB", 1 << 20, NULL },
		{ "1mib", 1 << 20, NULL },
		{ "2GB", INT64_C(2) << 30, NULL },
		{ "2GiB", INT64_C(2) << 30, NULL },
		{ "8589934591GB", INT64_C(8589934591) << 30, NULL },
		{ "8589934592GB", 0, "too large" },
		{ "9223372036854775807", INT64_MAX, NULL },
		{ "9223372036854775808", 0, "too large" },
		{ "9223372036854775807kB", 0, "too large" },
		{ "", 0, "not a size" },
		{ "kB", 0, "not a size" },
		{ "-1", 0, "not a size" },
		{ "1 MB", 0, "not a size" },
		{ "1M", 0, "not a size" },
		{ "1TB", 0, "not a size" },
		{ "1.5MB", 0, "not a size" },
		{ "1MBx", 0, "not a size" },
	};
	check(parse_size, rows, array_len(rows));
}

static void booleans(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int value; // -1 = refused
	} rows[] = {
		{ "true", 1 },  { "yes", 1 },  { "on", 1 },  { "1", 1 },     { "TRUE", 1 }, { "On", 1 },
		{ "false", 0 }, { "no", 0 },   { "off", 0 }, { "0", 0 },     { "No", 0 },   { "", -1 },
		{ "2", -1 },    { "tru", -1 }, { "t", -1 },  { "yes ", -1 }, { "00", -1 },
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct err e;
		bool value = false;
		bool ok = parse_bool(rows[i].text, &value, &e);
		assert_int_equal(ok ? value : -1, rows[i].value);
		if (!ok)
			assert_non_null(strstr(e.text, "neither true nor false"));
	}
}

static void long_texts_are_refused_shortly(void **state)
{
	(void)state;
	auto_free char *text = mem_calloc((1 << 20) + 1, 1);
	memset(text, '9', 1 << 20);
	int64_t value;
	bool flag;
	struct err e;
	assert_false(parse_int(text, &value, &e));
	assert_true(strlen(e.text) < 120);
	assert_false(parse_size(text, &value, &e));
	assert_true(strlen(e.text) < 120);
	assert_false(parse_duration_ms(text, &value, &e));
	assert_true(strlen(e.text) < 200);
	assert_false(parse_bool(text, &flag, &e));
	assert_true(strlen(e.text) < 200);
	assert_false(parse_int(text, &value, NULL));
}

static void zeros_do_not_overflow(void **state)
{
	(void)state;
	auto_free char *text = mem_calloc(100001, 1);
	memset(text, '0', 99999);
	text[99999] = '5';
	int64_t value = 0;
	assert_true(parse_int(text, &value, NULL));
	assert_int_equal(value, 5);
}

static void formats_the_shortest(void **state)
{
	(void)state;
	static const struct {
		int64_t value;
		const char *duration, *size;
	} rows[] = {
		{ 0, "0", "0" },
		{ 1, "1ms", "1" },
		{ 1000, "1s", "1000" },
		{ 1024, "1024ms", "1kB" },
		{ 1500, "1500ms", "1500" },
		{ 60000, "1m", "60000" },
		{ 90000, "90s", "90000" },
		{ 604800000, "7d", "590625kB" },
		{ 1 << 20, "1048576ms", "1MB" },
		{ INT64_C(3) << 30, "3221225472ms", "3GB" },
		{ INT64_MAX, "9223372036854775807ms", "9223372036854775807" },
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		char text[32];
		parse_format_duration(rows[i].value, text);
		assert_string_equal(text, rows[i].duration);
		parse_format_size(rows[i].value, text);
		assert_string_equal(text, rows[i].size);
	}
}

static void what_is_formatted_reads_back(void **state)
{
	(void)state;
	struct rng r;
	rng_seed(&r, 5);
	for (int i = 0; i < 20000; i++) {
		// Round numbers too: shifted and multiplied by units.
		static const int64_t units[] = { 1, 1000, 60000, 3600000, 86400000, 1024, 1 << 20, 1 << 30 };
		int64_t unit = units[rng_between(&r, 0, array_len(units) - 1)];
		int64_t value = rng_between(&r, 0, INT64_MAX / unit) >> rng_between(&r, 0, 62);
		value *= unit;
		char text[32];
		int64_t back = -1;
		parse_format_duration(value, text);
		assert_true(parse_duration_ms(text, &back, NULL));
		assert_true(back == value);
		parse_format_size(value, text);
		assert_true(parse_size(text, &back, NULL));
		assert_true(back == value);
	}
}

static void fingerprints(void **state)
{
	(void)state;
	static const char plain[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	static const char colons[] =
		"00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:"
		"19:1A:1B:1C:1D:1E:1F";
	static const char *const good[] = { plain, colons };
	static const char *const bad[] = {
		"", "00", "0", "00:", ":00", "0g", "0:0:0:", "\xc3\xa9", "sha256//"
	};
	unsigned char sum[32];
	char longer[sizeof(plain) + 1];
	struct err e;

	for (size_t i = 0; i < array_len(good); i++) {
		memset(sum, 0xff, sizeof(sum));
		assert_true(parse_fingerprint(good[i], sum, &e));
		for (size_t k = 0; k < sizeof(sum); k++)
			assert_int_equal(sum[k], k);
	}
	memset(sum, 0xff, sizeof(sum));
	for (size_t i = 0; i < array_len(bad); i++)
		assert_false(parse_fingerprint(bad[i], sum, &e));
	for (size_t cut = 0; cut + 1 < sizeof(plain); cut++) {
		memcpy(longer, plain, cut);
		longer[cut] = '\0';
		assert_false(parse_fingerprint(longer, sum, &e));
	}
	snprintf(longer, sizeof(longer), "%s0", plain);
	assert_false(parse_fingerprint(longer, sum, &e));
	assert_int_equal(sum[0], 0xff); // written only on success
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers),
		cmocka_unit_test(durations),
		cmocka_unit_test(sizes),
		cmocka_unit_test(booleans),
		cmocka_unit_test(fingerprints),
		cmocka_unit_test(long_texts_are_refused_shortly),
		cmocka_unit_test(zeros_do_not_overflow),
		cmocka_unit_test(formats_the_shortest),
		cmocka_unit_test(what_is_formatted_reads_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
