// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "core/merge.h"
#include "es/bulk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct slice slice(const char *text)
{
	return (struct slice){ text, text ? strlen(text) : 0 };
}

static void a_part_is_merged_as_elasticsearch_does(void **state)
{
	static const struct {
		const char *base, *part, *merged; // NULL = refused
	} cases[] = {
		{ NULL, "{\"a\":1}", "{\"a\":1}" },
		{ "{}", "{}", "{}" },
		{ "{\"a\":1}", "{}", "{\"a\":1}" },
		{ "{}", "{\"a\":1}", "{\"a\":1}" },
		{ "{\"a\":1,\"b\":2}", "{\"b\":3}", "{\"a\":1,\"b\":3}" },
		{ "{\"a\":1}", "{\"c\":3,\"b\":2,\"a\":4}", "{\"a\":4,\"c\":3,\"b\":2}" },
		{ "{\"o\":{\"a\":1,\"b\":2}}", "{\"o\":{\"b\":3,\"c\":4}}",
		  "{\"o\":{\"a\":1,\"b\":3,\"c\":4}}" },
		{ "{\"o\":{\"a\":1}}", "{\"o\":5}", "{\"o\":5}" },
		{ "{\"o\":5}", "{\"o\":{\"a\":1}}", "{\"o\":{\"a\":1}}" },
		{ "{\"o\":{\"a\":1}}", "{\"o\":{}}", "{\"o\":{\"a\":1}}" },
		{ "{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}" },
		{ "{\"a\":1}", "{\"a\":null}", "{\"a\":null}" },
		{ "{\"a\":19.90,\"n\":1e400}", "{\"b\":0.10}", "{\"a\":19.90,\"n\":1e400,\"b\":0.10}" },
		{ "{\"a\":1}", "{\"\\u0061\":2}", "{\"a\":2}" },
		{ "{ \"a\" :\n{ \"x\": [1,\n2] } }", "{\"b\":\n1}", "{\"a\":{ \"x\": [1, 2] },\"b\":1}" },
		{ NULL, "{\"a\":\n1}", "{\"a\": 1}" },
		{ "{\"a\":1,\"a\":2}", "{\"a\":3}", "{\"a\":3,\"a\":2}" },
		{ "{\"a\":{\"b\":{\"c\":1}}}", "{\"a\":{\"b\":{\"d\":2}}}",
		  "{\"a\":{\"b\":{\"c\":1,\"d\":2}}}" },
		{ "[]", "{}", NULL },
		{ "{}", "[]", NULL },
		{ "{} ", "{}x", NULL },
		{ "{", "{}", NULL },
		{ NULL, "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf out = { 0 };

		buf_init(&out, 1024);
		buf_adds(&out, "before");
		assert_int_equal(merge_object(slice(cases[i].base), slice(cases[i].part), &out),
				 cases[i].merged != NULL);
		assert_memory_equal(buf_str(&out), "before", 6);
		assert_string_equal(buf_str(&out) + 6, cases[i].merged ? cases[i].merged : "");
	}
}

static void what_does_not_fit_leaves_nothing(void **state)
{
	auto_buf out = { 0 };

	(void)state;
	buf_init(&out, 20);
	buf_adds(&out, "before");
	assert_false(merge_object(slice("{\"a\":1}"), slice("{\"b\":123456789}"), &out));
	assert_string_equal(buf_str(&out), "before");
}

// -- as lines of a body

static struct row row_of(const char *document)
{
	return (struct row){ .index = slice("products"),
			     .document_id = slice("a\"},\"version\":9"),
			     .routing = slice(",\"pipeline\":\""),
			     .pipeline = slice("p"),
			     .document = slice(document),
			     .has_version = true,
			     .version = 7 };
}

#define TARGET \
	"\"_index\":\"products\",\"_id\":\"a\\\"},\\\"version\\\":9\",\"routing\":\",\\\"pipeline\\\":\\\"\""
#define ACTION "{\"index\":{" TARGET ",\"pipeline\":\"p\",\"version\":7,\"version_type\":\"external_gte\"}}\n"

static void parts_are_lines_below_an_action(void **state)
{
	auto_buf body = { 0 }, sent = { 0 };
	const struct row whole = row_of("{\"a\":1,\n\"n\":0}"), one = row_of("{\"b\":\n2}"),
			 two = row_of("{\"n\":3}");
	size_t first, second;

	(void)state;
	buf_init(&body, 4096);
	buf_init(&sent, 4096);
	assert_true(bulk_append(&body, &whole, OP_INDEX, false));
	first = body.len;
	assert_true(bulk_append_part(&body, &one, bulk_below_action(body.data, first), first));
	second = body.len;
	assert_string_equal(body.data + first, ACTION "{\"a\":1, \"n\":0}\n{\"b\": 2}\n");
	assert_true(bulk_append_part(&body, &two,
				     first + bulk_below_action(body.data + first, second - first), second));
	assert_string_equal(body.data + second, ACTION "{\"a\":1, \"n\":0}\n{\"b\": 2}\n{\"n\":3}\n");

	const struct slice event = { body.data + second, body.len - second };
	const struct slice target = bulk_target(event);
	assert_int_equal(target.n, strlen(TARGET));
	assert_memory_equal(target.p, TARGET, target.n);
	assert_true(bulk_merge(&sent, event, (struct slice){ NULL, 0 }, true));
	assert_string_equal(buf_str(&sent), ACTION "{\"a\":1,\"n\":3,\"b\":2}\n");
	buf_clear(&sent);
	assert_true(bulk_merge(&sent, event, slice("{\"z\":0}"), false));
	assert_string_equal(buf_str(&sent), ACTION "{\"z\":0,\"a\":1,\"n\":3,\"b\":2}\n");
}

static void what_cannot_be_merged_leaves_nothing(void **state)
{
	auto_buf body = { 0 }, sent = { 0 };
	const struct row one = row_of("{\"b\":2}");

	(void)state;
	buf_init(&body, 4096);
	buf_init(&sent, strlen(ACTION) + 20);
	assert_true(bulk_append_part(&body, &one, 0, 0));

	const struct slice event = { body.data, body.len };
	buf_adds(&sent, "x");
	assert_false(bulk_merge(&sent, event, slice("[]"), false));
	assert_false(bulk_merge(&sent, event, slice("{\"long\":\"abcdefghijkl\"}"), false));
	assert_true(bulk_merge(&sent, event, (struct slice){ NULL, 0 }, false));
	assert_string_equal(buf_str(&sent), "x" ACTION "{\"b\":2}\n");
	// There is no room for it any more.
	assert_false(bulk_merge(&sent, event, (struct slice){ NULL, 0 }, false));
	assert_false(sent.full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_part_is_merged_as_elasticsearch_does),
		cmocka_unit_test(what_does_not_fit_leaves_nothing),
		cmocka_unit_test(parts_are_lines_below_an_action),
		cmocka_unit_test(what_cannot_be_merged_leaves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
