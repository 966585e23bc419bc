// SPDX-License-Identifier: MIT
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { OUT_SIZE = 1 << 16 };

static const struct kv end = { .key = NULL, .type = KV_END };

static const char *render(enum log_format format, const struct kv *fields)
{
	static char out[OUT_SIZE];
	size_t need = log_render(format, LOG_WARN, "test", fields, out, sizeof(out));
	assert_int_equal(need, strlen(out));
	return out;
}

static void renders_each_type(void **state)
{
	(void)state;
	struct err e;
	(void)err_set(&e, ERR_DATA, "no luck");
	const struct {
		struct kv field;
		const char *logfmt, *json;
	} rows[] = {
		{ kv_str("k", "plain"), "k=plain", "\"k\":\"plain\"" },
		{ kv_str("k", NULL), "k=\"\"", "\"k\":\"\"" },
		{ kv_str("k", ""), "k=\"\"", "\"k\":\"\"" },
		{ kv_int("k", INT64_MIN), "k=-9223372036854775808", "\"k\":-9223372036854775808" },
		{ kv_int("k", INT64_MAX), "k=9223372036854775807", "\"k\":9223372036854775807" },
		{ kv_real("k", 1.5), "k=1.500", "\"k\":1.500" },
		{ kv_real("k", -0.0004), "k=-0.000", "\"k\":-0.000" },
		{ kv_real("k", (double)NAN), "k=nan", "\"k\":null" },
		{ kv_real("k", (double)INFINITY), "k=inf", "\"k\":null" },
		{ kv_bool("k", true), "k=true", "\"k\":true" },
		{ kv_bool("k", false), "k=false", "\"k\":false" },
		{ kv_err(&e), "error=\"no luck\"", "\"error\":\"no luck\"" },
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		char expected[200];
		const struct kv fields[] = { rows[i].field, end };
		snprintf(expected, sizeof(expected), "level=warn event=test %s", rows[i].logfmt);
		assert_string_equal(render(LOG_LOGFMT, fields), expected);
		snprintf(expected, sizeof(expected), "{\"level\":\"warn\",\"event\":\"test\",%s}",
			 rows[i].json);
		assert_string_equal(render(LOG_JSON, fields), expected);
	}
}

static void quotes_and_escapes(void **state)
{
	(void)state;
	static const struct {
		const char *text, *logfmt, *json;
	} rows[] = {
		{ "a b", "\"a b\"", "\"a b\"" },
		{ "a=b", "\"a=b\"", "\"a=b\"" },
		{ "a\"b", "\"a\\\"b\"", "\"a\\\"b\"" },
		{ "a\\ b", "\"a\\\\ b\"", "\"a\\\\ b\"" },
		{ "x\nlevel=error event=forged", "\"x\\nlevel=error event=forged\"",
		  "\"x\\nlevel=error event=forged\"" },
		{ "\t\r\b\f\x1b[31m\x7f", "\"\\t\\r\\b\\f\\u001b[31m\\u007f\"",
		  "\"\\t\\r\\b\\f\\u001b[31m\\u007f\"" },
		{ "\xc2\x9b", "\"\\u009b\"", "\"\\u009b\"" }, // C1: CSI of some terminals
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98",
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98\"" },
		// Invalid: a lone tail, overlong, a surrogate, above U+10FFFF, cut short
		{ "\x80", "\xef\xbf\xbd", "\"\xef\xbf\xbd\"" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		  "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		  "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		  "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xff"
		  "a",
		  "\xef\xbf\xbd"
		  "a",
		  "\"\xef\xbf\xbd"
		  "a\"" },
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		const struct kv fields[] = { kv_str("k", rows[i].text), end };
		char expected[200];
		snprintf(expected, sizeof(expected), "level=warn event=test k=%s", rows[i].logfmt);
		assert_string_equal(render(LOG_LOGFMT, fields), expected);
		snprintf(expected, sizeof(expected), "{\"level\":\"warn\",\"event\":\"test\",\"k\":%s}",
			 rows[i].json);
		assert_string_equal(render(LOG_JSON, fields), expected);
	}
}

static json_t *parse_line(const char *line)
{
	json_error_t why;
	json_t *json = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
	if (!json)
		fail_msg("%s: %s", why.text, line);
	return json;
}

static void cuts_long_values(void **state)
{
	(void)state;
	// The character that passes byte 1,000 goes as a whole, or the cut would make an invalid byte.
	static const struct {
		const char *unit;
		size_t lead; // ASCII bytes in front
		size_t kept;
	} rows[] = {
		{ "x", 0, 1000 },
		{ "\xc3\xa9", 0, 1000 },
		{ "\xc3\xa9", 1, 999 },
		{ "\xe2\x82\xac", 0, 999 },
		{ "\xe2\x82\xac", 1, 1000 },
		{ "\xe2\x82\xac", 2, 998 },
		{ "\xf0\x9f\x90\x98", 0, 1000 },
		{ "\xf0\x9f\x90\x98", 1, 997 },
		{ "\xf0\x9f\x90\x98", 3, 999 },
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		auto_buf text;
		buf_init(&text, 2 << 20);
		for (size_t n = 0; n < rows[i].lead; n++)
			buf_addc(&text, 'a');
		while (text.len < 1 << 20)
			buf_adds(&text, rows[i].unit);
		const struct kv fields[] = { kv_str("k", text.data), end };
		json_t *json = parse_line(render(LOG_JSON, fields));
		const char *got = json_string_value(json_object_get(json, "k"));
		assert_int_equal(strlen(got), rows[i].kept + 3);
		assert_memory_equal(got, text.data, rows[i].kept);
		assert_string_equal(got + rows[i].kept, "...");
		json_decref(json);
	}
	char exact[1001] = "";
	memset(exact, 'x', 1000);
	const struct kv fields[] = { kv_str("k", exact), end };
	assert_null(strstr(render(LOG_LOGFMT, fields), "..."));
}

static void a_line_is_bounded(void **state)
{
	(void)state;
	char text[1001] = "";
	memset(text, 1, 1000); // becomes 6,000 bytes
	struct kv fields[41];
	for (int i = 0; i < 40; i++)
		fields[i] = i % 2 ? kv_int("n", i) : kv_str("k", text);
	fields[40] = end;
	for (int format = LOG_LOGFMT; format <= LOG_JSON; format++) {
		const char *line = render((enum log_format)format, fields);
		assert_true(strlen(line) <= 16384);
		assert_non_null(
			strstr(line, format == LOG_JSON ? "\"dropped_fields\":18}" : " dropped_fields=18"));
		assert_non_null(strstr(line, format == LOG_JSON ? "\"n\":39" : "n=39")); // what fits is there
	}
	json_t *json = json_loads(render(LOG_JSON, fields), 0, NULL);
	assert_non_null(json);
	json_decref(json);
}

static void render_respects_the_capacity(void **state)
{
	(void)state;
	const struct kv fields[] = { kv_int("n", 12345), end };
	const char *full = "level=info event=e n=12345";
	for (size_t cap = 0; cap < 40; cap++) {
		char out[41];
		memset(out, '~', sizeof(out));
		assert_int_equal(log_render(LOG_LOGFMT, LOG_INFO, "e", fields, out, cap), strlen(full));
		size_t kept = cap > strlen(full) ? strlen(full) : cap - (cap > 0);
		assert_memory_equal(out, full, kept);
		if (cap)
			assert_int_equal(out[kept], 0);
		assert_int_equal(out[cap], '~');
	}
}

// Jansson reads back what was written, for any bytes; and no line holds a raw control byte.
static void noise_stays_valid(void **state)
{
	(void)state;
	struct rng r;
	rng_seed(&r, 3);
	for (int i = 0; i < 20000; i++) {
		char text[64];
		size_t len = (size_t)rng_between(&r, 0, sizeof(text) - 1);
		for (size_t n = 0; n < len; n++)
			text[n] = (char)rng_between(&r, 1, 255);
		text[len] = '\0';
		const struct kv fields[] = { kv_str("k", text), end };
		json_t *json = parse_line(render(LOG_JSON, fields));
		assert_non_null(json_object_get(json, "k"));
		json_decref(json);
		for (const char *s = render(LOG_LOGFMT, fields); *s; s++)
			assert_true((unsigned char)*s >= 0x20 && *s != 0x7f);
	}
}

static void valid_text_survives(void **state)
{
	(void)state;
	for (unsigned c = 1; c < 0x110000; c += c < 0x900 ? 1 : 97) {
		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		char text[5] = { 0 };
		if (c < 0x80) {
			text[0] = (char)c;
		} else if (c < 0x800) {
			text[0] = (char)(0xc0 | c >> 6);
			text[1] = (char)(0x80 | (c & 0x3f));
		} else if (c < 0x10000) {
			text[0] = (char)(0xe0 | c >> 12);
			text[1] = (char)(0x80 | (c >> 6 & 0x3f));
			text[2] = (char)(0x80 | (c & 0x3f));
		} else {
			text[0] = (char)(0xf0 | c >> 18);
			text[1] = (char)(0x80 | (c >> 12 & 0x3f));
			text[2] = (char)(0x80 | (c >> 6 & 0x3f));
			text[3] = (char)(0x80 | (c & 0x3f));
		}
		const struct kv fields[] = { kv_str("k", text), end };
		json_t *json = parse_line(render(LOG_JSON, fields));
		assert_string_equal(json_string_value(json_object_get(json, "k")), text);
		json_decref(json);
	}
}

// What f writes to standard error. The caller owns the text.
static char *capture(void (*f)(void))
{
	int fds[2];
	assert_return_code(pipe(fds), errno);
	int saved = dup(STDERR_FILENO);
	assert_true(saved >= 0);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	f();
	dup2(saved, STDERR_FILENO);
	close(saved);
	char *text = mem_calloc(OUT_SIZE, 1); // a pipe holds 64 kB
	assert_true(read(fds[0], text, OUT_SIZE - 1) >= 0);
	close(fds[0]);
	return text;
}

static void write_lines(void)
{
	errno = 1234;
	log_debug("hidden", kv_int("n", 1));
	log_info("hidden", kv_int("n", 1));
	log_warn("shown", kv_int("n", 1), kv_str("s", "a\nb"));
	log_error("shown", kv_int("n", 2));
	assert_int_equal(errno, 1234);
}

static void writes_lines_with_time(void **state)
{
	(void)state;
	log_setup(LOG_LOGFMT, LOG_WARN);
	assert_false(log_enabled(LOG_INFO));
	assert_true(log_enabled(LOG_WARN));
	auto_free char *text = capture(write_lines);
	int year, month, day, hour, minute, second, ms, used = 0;
	assert_int_equal(sscanf(text, "ts=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour,
				&minute, &second, &ms, &used),
			 7);
	assert_int_equal(used, 27);
	assert_true(year >= 2026 || year == 2025);
	char *second_line = strchr(text, '\n');
	assert_non_null(second_line);
	*second_line++ = '\0';
	assert_string_equal(text + used, " level=warn event=shown n=1 s=\"a\\nb\"");
	assert_string_equal(second_line + used, " level=error event=shown n=2\n");
}

static void writes_json_lines(void **state)
{
	(void)state;
	log_setup(LOG_JSON, LOG_ERROR);
	auto_free char *text = capture(write_lines);
	log_setup(LOG_LOGFMT, LOG_INFO);
	assert_string_equal(text + strlen(text) - 2, "}\n");
	json_t *json = parse_line(text);
	assert_int_equal(json_string_length(json_object_get(json, "ts")), 24);
	assert_string_equal(json_string_value(json_object_get(json, "event")), "shown");
	json_decref(json);
}

static void write_to_nowhere(void)
{
	close(STDERR_FILENO);
	errno = 1234;
	log_error("lost", kv_int("n", 1));
	assert_int_equal(errno, 1234);
}

static void a_failed_write_is_ignored(void **state)
{
	(void)state;
	auto_free char *text = capture(write_to_nowhere);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renders_each_type),
		cmocka_unit_test(quotes_and_escapes),
		cmocka_unit_test(cuts_long_values),
		cmocka_unit_test(a_line_is_bounded),
		cmocka_unit_test(render_respects_the_capacity),
		cmocka_unit_test(noise_stays_valid),
		cmocka_unit_test(valid_text_survives),
		cmocka_unit_test(writes_lines_with_time),
		cmocka_unit_test(writes_json_lines),
		cmocka_unit_test(a_failed_write_is_ignored),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
