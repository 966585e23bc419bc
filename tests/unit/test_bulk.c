// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "es/bulk.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LITERAL(text) { .p = "" text, .n = sizeof(text) - 1 }
#define SLICE(text) ((struct slice)LITERAL(text))

static struct row good_row(void)
{
	return (struct row){
		.version = 7,
		.has_version = true,
		.index = SLICE("products"),
		.document_id = SLICE("42"),
		.document = SLICE("{\"price\":19.90}"),
	};
}

static void path_is_in_the_form_that_is_signed(void **state)
{
	char path[256];

	(void)state;
	bulk_path(path, sizeof(path), "false", 30000);
	assert_string_equal(path,
			    "/_bulk?filter_path=errors%2Citems.%2A.status%2Citems.%2A.error.type%2Citems.%2A."
			    "error.reason&timeout=30000ms");
	bulk_path(path, sizeof(path), "wait_for", 1);
	assert_non_null(strstr(path, "&refresh=wait_for&timeout=1ms"));
}

static void assert_appends(const struct row *row, enum op op, bool tombstone, const char *expected)
{
	auto_buf body;

	buf_init(&body, 4096);
	buf_adds(&body, "before\n");
	assert_true(bulk_append(&body, row, op, tombstone));
	assert_string_equal(buf_str(&body) + strlen("before\n"), expected);
	assert_int_equal(body.len, strlen("before\n") + strlen(expected));
}

static void operations_have_their_lines(void **state)
{
	struct row row = good_row();

	(void)state;
	assert_appends(&row, OP_INDEX, false,
		       "{\"index\":{\"_index\":\"products\",\"_id\":\"42\",\"version\":7,\"version_type\":"
		       "\"external_gte\"}}\n{\"price\":19.90}\n");
	assert_appends(&row, OP_CREATE, false,
		       "{\"create\":{\"_index\":\"products\",\"_id\":\"42\"}}\n{\"price\":19.90}\n");
	assert_appends(&row, OP_DELETE, false,
		       "{\"delete\":{\"_index\":\"products\",\"_id\":\"42\",\"version\":7,\"version_type\":"
		       "\"external_gte\"}}\n");
	assert_appends(&row, OP_DELETE, true,
		       "{\"index\":{\"_index\":\"products\",\"_id\":\"42\",\"version\":7,\"version_type\":"
		       "\"external_gte\"}}\n{\"deleted\":true}\n");
}

static void options_follow_when_they_are_set(void **state)
{
	struct row row = good_row();

	(void)state;
	row.routing = SLICE("r\"1");
	row.pipeline = SLICE("p");
	row.version = 0;
	assert_appends(
		&row, OP_INDEX, false,
		"{\"index\":{\"_index\":\"products\",\"_id\":\"42\",\"routing\":\"r\\\"1\",\"pipeline\":\"p\","
		"\"version\":0,\"version_type\":\"external_gte\"}}\n{\"price\":19.90}\n");
	row.version = INT64_MAX;
	assert_appends(&row, OP_DELETE, false, // which no pipeline concerns
		       "{\"delete\":{\"_index\":\"products\",\"_id\":\"42\",\"routing\":\"r\\\"1\","
		       "\"version\":9223372036854775807,\"version_type\":\"external_gte\"}}\n");
	row.routing = SLICE("");
	row.pipeline = SLICE("");
	assert_appends(&row, OP_CREATE, false,
		       "{\"create\":{\"_index\":\"products\",\"_id\":\"42\"}}\n{\"price\":19.90}\n");
}

static void newlines_cannot_end_the_line(void **state)
{
	struct row row = good_row();

	(void)state;
	row.document = SLICE("\n{\n\n\"a\":\r\n1}\r\n");
	assert_appends(&row, OP_CREATE, false,
		       "{\"create\":{\"_index\":\"products\",\"_id\":\"42\"}}\n {  \"a\":\r 1}\r \n");
	row.document = SLICE("{\"a\":1}\n{\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}");
	assert_appends(&row, OP_CREATE, false,
		       "{\"create\":{\"_index\":\"products\",\"_id\":\"42\"}}\n"
		       "{\"a\":1} {\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}\n");
}

static void full_buffer_keeps_nothing_of_the_row(void **state)
{
	struct row row = good_row();
	auto_buf body;
	size_t needed;

	(void)state;
	buf_init(&body, 4096);
	assert_true(bulk_append(&body, &row, OP_INDEX, false));
	needed = body.len;
	for (size_t max = 0; max < 2 * needed + 2; max++) {
		size_t fit = max / needed;

		buf_done(&body);
		buf_init(&body, max);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(bulk_append(&body, &row, OP_INDEX, false), i < fit);
		assert_int_equal(body.len, fit * needed);
		assert_false(body.full); // a smaller row may still fit
	}
}

// Oracle: what jansson reads back is what went in.
static void assert_escapes(const char *text, size_t len)
{
	struct row row = good_row();
	json_t *line;
	json_t *index;
	auto_buf body;

	buf_init(&body, 64 * 1024);
	row.index = row.document_id = row.routing = row.pipeline = (struct slice){ text, len };
	assert_true(bulk_append(&body, &row, OP_INDEX, false));
	assert_int_equal(body.data[body.len - 1], '\n');
	line = json_loadb(body.data, strcspn(body.data, "\n"), JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	index = json_object_get(line, "index");
	assert_int_equal(json_object_size(index), len ? 6 : 4);
	for (size_t i = 0; i < (len ? 4 : 2); i++) {
		const char *keys[] = { "_index", "_id", "routing", "pipeline" };
		json_t *value = json_object_get(index, keys[i]);

		assert_int_equal(json_string_length(value), len);
		assert_memory_equal(json_string_value(value), text, len);
	}
	json_decref(line);
}

static void text_is_escaped(void **state)
{
	static const char *const signs[] = { "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xE2\x80\xA8",
					     "\x7F" };
	char text[512];
	struct rng rng;

	(void)state;
	for (int c = 0; c < 0x80; c++) {
		text[0] = (char)c;
		assert_escapes(text, 1);
	}
	for (size_t i = 0; i < array_len(signs); i++)
		assert_escapes(signs[i], strlen(signs[i]));
	assert_escapes("", 0);
	rng_seed(&rng, 1);
	for (int round = 0; round < 2000; round++) {
		size_t len = 0;

		while (len < 100 && rng_next(&rng) % 20) {
			uint64_t r = rng_next(&rng);
			const char *sign = signs[r / 4 % array_len(signs)];

			if (r % 4) {
				text[len++] = (char)(r / 4 % 0x80);
				continue;
			}
			memcpy(text + len, sign, strlen(sign));
			len += strlen(sign);
		}
		assert_escapes(text, len);
	}
}

struct seen {
	size_t count;
	int status[16];
	char text[16][64];
};

static void on_item(void *arg, size_t position, const struct bulk_item *item)
{
	struct seen *seen = arg;

	assert_int_equal(position, seen->count);
	assert_true(seen->count < 16);
	seen->status[position] = item->status;
	snprintf(seen->text[position], sizeof(seen->text[0]), "%s|%s", item->type, item->reason);
	seen->count++;
}

static void clean_answers_are_read(void **state)
{
	static const char *const answers[] = {
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201}},{\"delete\":{\"status\":200}}]}",
		" { \"items\" : [ { \"index\" : { \"status\" : 201 } } ,\n{\"create\":{\"status\":200}}\t] ,\r"
		"\"took\":30, \"errors\" : false } \n",
		"{\"took\":1,\"errors\":false,\"items\":[{\"index\":{\"_index\":\"a\",\"_id\":\"\\u00e9\",\"_shards\":{"
		"\"total\":2},\"status\":201}},{\"index\":{\"status\":200,\"_seq_no\":-1,\"x\":[1.5,{}]}}]}",
		"{\"errors\":true,\"items\":[{\"index\":{\"status\":201}},{\"index\":{\"status\":200}}]}",
	};

	(void)state;
	for (size_t i = 0; i < array_len(answers); i++) {
		struct seen seen = { .count = 0 };
		struct err e = { .kind = ERR_NONE };

		assert_true(bulk_decode(answers[i], strlen(answers[i]), 2, on_item, &seen, &e));
		assert_int_equal(seen.count, 2);
		assert_int_equal(seen.status[0], 201);
		assert_int_equal(seen.status[1], 200);
		assert_string_equal(seen.text[0], "|");
	}
}

static void errors_of_items_are_read(void **state)
{
	static const char answer[] =
		"{\"errors\":true,\"items\":[{\"index\":{\"status\":201}},"
		"{\"index\":{\"status\":400,\"error\":{\"type\":\"document_parsing_exception\",\"reason\":\"[1:6] no\"}}},"
		"{\"delete\":{\"status\":404}},"
		"{\"create\":{\"error\":{\"type\":\"t\",\"reason\":null},\"status\":409}},"
		"{\"index\":{\"status\":500,\"error\":\"old style\"}},"
		"{\"index\":{\"status\":429,\"error\":{\"reason\":\"a\\u0000b\"}}}]}";
	static const int statuses[] = { 201, 400, 404, 409, 500, 429 };
	static const char *const texts[] = { "|",          "document_parsing_exception|[1:6] no",
					     "|",          "t|",
					     "|old style", "|a" };
	struct seen seen = { .count = 0 };
	struct err e;

	(void)state;
	assert_true(bulk_decode(answer, strlen(answer), 6, on_item, &seen, &e));
	assert_int_equal(seen.count, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(seen.status[i], statuses[i]);
		assert_string_equal(seen.text[i], texts[i]);
	}
}

static void other_answers_are_refused(void **state)
{
	static const char *const answers[] = {
		"",
		"{}",
		"[]",
		"null",
		"<html>secret</html>",
		"{\"errors\":false}",
		"{\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":null,\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":false,\"items\":{}}",
		"{\"errors\":false,\"items\":[]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201}},{\"index\":{\"status\":201}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{}}]}",
		"{\"errors\":false,\"items\":[{}]}",
		"{\"errors\":false,\"items\":[7]}",
		"{\"errors\":false,\"items\":[{\"index\":7}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":\"201\"}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201.0}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":99999999999}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":-1}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201},\"create\":{\"status\":201}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201}}]",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201}}]}x",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201}},]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":0201}}]}",
	};
	struct seen seen = { .count = 0 };

	(void)state;
	for (size_t i = 0; i < array_len(answers); i++) {
		struct err e = { .kind = ERR_NONE };

		assert_false(bulk_decode(answers[i], strlen(answers[i]), 1, on_item, &seen, &e));
		assert_int_equal(seen.count, 0);
		assert_int_equal(e.kind, ERR_UNAVAILABLE);
		assert_null(strstr(e.text, "secret"));
	}
	// No more memory than the answer is long, whatever was sent.
	assert_false(bulk_decode("{}", 2, SIZE_MAX, on_item, &seen, NULL));
	assert_true(bulk_decode("{\"errors\":false,\"items\":[]}", 27, 0, on_item, &seen, NULL));
}

static void answers_are_refused_at_every_cut(void **state)
{
	static const char answer[] =
		"{\"errors\":true,\"items\":[{\"index\":{\"status\":201}},{\"index\":{\"status\":400,\"error\":"
		"{\"type\":\"a\",\"reason\":\"b\"}}}]}";
	struct seen seen = { .count = 0 };

	(void)state;
	for (size_t n = 0; n < strlen(answer); n++)
		assert_false(bulk_decode(answer, n, 2, on_item, &seen, NULL));
	assert_int_equal(seen.count, 0);
	assert_true(bulk_decode(answer, strlen(answer), 2, on_item, &seen, NULL));
}

static void error_of_a_request_is_read(void **state)
{
	static const struct {
		const char *body;
		const char *type;
		const char *reason;
	} cases[] = {
		{ "{\"error\":{\"root_cause\":[],\"type\":\"t\",\"reason\":\"r\"},\"status\":400}", "t",
		  "r" },
		{ "{\"error\":\"Incorrect HTTP method\",\"status\":405}", "", "Incorrect HTTP method" },
		{ "{\"error\":{\"type\":7,\"reason\":{}}}", "", "" },
		{ "{\"Message\":\"Request size exceeded 10485760 bytes\"}", "",
		  "Request size exceeded 10485760 bytes" },
		{ "{\"message\":\"User: anonymous is not authorized\"}", "",
		  "User: anonymous is not authorized" },
		{ "403 Request throttled due to too many requests /_bulk\nmore", "",
		  "403 Request throttled due to too many requests /_bulk" },
		{ "<html><body>502</body></html>", "", "" },
		{ "{\"error\":", "", "" },
		{ "\xFF\xFE", "", "" },
		{ "[]", "", "" },
		{ "", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct bulk_error error;

		bulk_error_read(cases[i].body, strlen(cases[i].body), &error);
		assert_string_equal(error.type, cases[i].type);
		assert_string_equal(error.reason, cases[i].reason);
	}
}

static void long_reasons_are_cut_between_characters(void **state)
{
	struct bulk_error error;
	auto_buf body;

	(void)state;
	for (size_t shift = 0; shift < 4; shift++) {
		json_t *cut;

		buf_init(&body, 64 * 1024);
		buf_adds(&body, "{\"error\":{\"reason\":\"");
		buf_add(&body, "xxx", shift);
		for (int i = 0; i < 1000; i++)
			buf_adds(&body, "\xE2\x82\xAC");
		buf_adds(&body, "\"}}");
		bulk_error_read(buf_str(&body), body.len, &error);
		assert_in_range(strlen(error.reason), sizeof(error.reason) - 3, sizeof(error.reason) - 1);
		cut = json_string(error.reason); // NULL when it is not UTF-8
		assert_non_null(cut);
		json_decref(cut);
		buf_done(&body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(path_is_in_the_form_that_is_signed),
		cmocka_unit_test(operations_have_their_lines),
		cmocka_unit_test(options_follow_when_they_are_set),
		cmocka_unit_test(newlines_cannot_end_the_line),
		cmocka_unit_test(full_buffer_keeps_nothing_of_the_row),
		cmocka_unit_test(text_is_escaped),
		cmocka_unit_test(clean_answers_are_read),
		cmocka_unit_test(errors_of_items_are_read),
		cmocka_unit_test(other_answers_are_refused),
		cmocka_unit_test(answers_are_refused_at_every_cut),
		cmocka_unit_test(error_of_a_request_is_read),
		cmocka_unit_test(long_reasons_are_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
