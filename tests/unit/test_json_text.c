// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "core/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct slice slice(const char *text)
{
	return (struct slice){ text, strlen(text) };
}

static void an_object_is_valid_to_its_end(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{ "{}", true },
		{ " {\n\"a\" : 1 ,\t\"b\":[ ] }\r\n", true },
		{ "{\"a\":{\"b\":[1,-0,0.5e+10,1E-2,\"\\u00e4\\\"\\n\",true,false,null,{}]}}", true },
		{ "{\"a\":1e400,\"b\":123456789012345678901234567890.50}", true },
		{ "{\"a\":\"\\ud800\"}", true },
		{ "", false },
		{ "[]", false },
		{ "1", false },
		{ "{", false },
		{ "{}}", false },
		{ "{}{}", false },
		{ "{}x", false },
		{ "{\"a\"}", false },
		{ "{\"a\":}", false },
		{ "{\"a\":1,}", false },
		{ "{,\"a\":1}", false },
		{ "{\"a\":1 \"b\":2}", false },
		{ "{a:1}", false },
		{ "{\"a\":01}", false },
		{ "{\"a\":-}", false },
		{ "{\"a\":1.}", false },
		{ "{\"a\":.5}", false },
		{ "{\"a\":1e}", false },
		{ "{\"a\":+1}", false },
		{ "{\"a\":NaN}", false },
		{ "{\"a\":tru}", false },
		{ "{\"a\":truee}", false },
		{ "{\"a\":\"\t\"}", false },
		{ "{\"a\":\"\\x\"}", false },
		{ "{\"a\":\"\\u12g4\"}", false },
		{ "{\"a\":\"\\u12", false },
		{ "{\"a\":\"\\", false },
		{ "{\"a\":\"x}", false },
		{ "{\"a\":[1,]}", false },
		{ "{\"a\":[1}", false },
		{ "{\"a\":[1}}", false },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		if (json_is_text_of_object(slice(cases[i].text), JSON_DOCUMENT_DEPTH) != cases[i].good)
			fail_msg("%s", cases[i].text);
	}
	assert_false(json_is_text_of_object((struct slice){ "{\"\0\":1}", 7 }, JSON_DOCUMENT_DEPTH));
	assert_false(json_is_text_of_object((struct slice){ "{\"\\\0\":1}", 8 }, JSON_DOCUMENT_DEPTH));
	assert_false(json_is_text_of_object((struct slice){ "{}\0", 3 }, JSON_DOCUMENT_DEPTH));
}

static void depth_has_an_end(void **state)
{
	(void)state;
	for (int depth = 199; depth <= 201; depth++) {
		char text[2048] = "{\"a\":";
		size_t n = strlen(text);

		memset(text + n, '[', (size_t)depth - 1);
		memset(text + n + depth - 1, ']', (size_t)depth - 1);
		memcpy(text + n + 2 * (size_t)(depth - 1), "}", 2);
		assert_int_equal(json_is_text_of_object(slice(text), JSON_DOCUMENT_DEPTH), depth <= 200);
	}
}

static void members_and_elements_come_in_order(void **state)
{
	static const struct {
		const char *text, *walked;
	} cases[] = {
		{ "{}", "" },
		{ " [ ] ", "" },
		{ "{ \"a\" : 1 , \"b\\\"\" : {\"c\":[2, 3]} ,\"\":\"x\" }",
		  "a=1;b\\\"={\"c\":[2, 3]};=\"x\";" },
		{ "[1,\"x\" , [2],{\"a\":3}]", "-1;-\"x\";-[2];-{\"a\":3};" },
		{ "1", "" },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct json_walk w = json_walk(slice(cases[i].text));
		struct json_member m;
		char walked[256] = "";

		while (json_next(&w, &m)) {
			size_t n = strlen(walked);

			snprintf(walked + n, sizeof(walked) - n, "%.*s%s%.*s;", (int)m.key.n,
				 m.key.p ? m.key.p : "", m.key.p ? "=" : "-", (int)m.value.n, m.value.p);
		}
		assert_string_equal(walked, cases[i].walked);
	}
}

static void keys_are_compared_by_what_they_mean(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{ "a", "a", true },
		{ "a", "b", false },
		{ "a", "aa", false },
		{ "", "", true },
		{ "a", "\\u0061", true },
		{ "\\u0061b", "a\\u0062", true },
		{ "a", "\\u0061b", false },
		{ "\\n", "\\u000A", true },
		{ "\\/", "/", true },
		{ "\xc3\xa4", "\\u00e4", true },
		{ "\xf0\x9f\x98\x80", "\\ud83d\\uDE00", true },
		{ "\\ud83d", "\\ud83e", false },
		{ "\\ud83d", "\\ud83d\\ude00", false },
		{ "\\ud83d\\ud83d", "\\ud83d", false },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		if (json_same_key(slice(cases[i].a), slice(cases[i].b)) != cases[i].same ||
		    json_same_key(slice(cases[i].b), slice(cases[i].a)) != cases[i].same)
			fail_msg("%s and %s", cases[i].a, cases[i].b);
	}
}

static void texts_are_read_and_cut(void **state)
{
	char out[8];

	(void)state;
	json_read_string(slice("\"a\\u00e4\\nb\""), out, sizeof(out));
	assert_string_equal(out, "a\xc3\xa4\nb");
	json_read_string(slice("\"abcdef\xc3\xa4\""), out, sizeof(out)); // not half of it
	assert_string_equal(out, "abcdef");
	json_read_string(slice("\"abcde\\u00e4\""), out, sizeof(out));
	assert_string_equal(out, "abcde\xc3\xa4");
	json_read_string(slice("\"abcdef\\u00e4\""), out, sizeof(out));
	assert_string_equal(out, "abcdef");
	json_read_string(slice("\"a\\ud800b\\udc00\""), out, sizeof(out));
	assert_string_equal(out, "a?b?");
	json_read_string(slice("17"), out, sizeof(out));
	assert_string_equal(out, "");
	json_read_string((struct slice){ NULL, 0 }, out, sizeof(out));
	assert_string_equal(out, "");
}

static void a_member_is_found_by_its_name(void **state)
{
	const struct slice object = slice("{\"a\":{\"b\":1},\"b\":2,\"b\":3,\"c\":true}");

	(void)state;
	assert_true(json_is(json_get(object, "b"), "2"));
	assert_true(json_is(json_get(json_get(object, "a"), "b"), "1"));
	assert_true(json_is(json_get(object, "c"), "true"));
	assert_null(json_get(object, "d").p);
	assert_null(json_get(slice("[\"a\",1]"), "a").p);
	assert_false(json_is(json_get(object, "d"), ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_object_is_valid_to_its_end),
		cmocka_unit_test(depth_has_an_end),
		cmocka_unit_test(members_and_elements_come_in_order),
		cmocka_unit_test(keys_are_compared_by_what_they_mean),
		cmocka_unit_test(texts_are_read_and_cut),
		cmocka_unit_test(a_member_is_found_by_its_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
