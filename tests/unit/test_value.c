// SPDX-License-Identifier: MIT
// The bytes are those that PostgreSQL's send and receive functions use, written by hand.
#include "base/attr.h"
#include "pg/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <libpq-fe.h>

#define BYTES(text) { "" text, sizeof(text) - 1 }

struct bytes {
	const char *p;
	size_t n;
};

// One row of one column; the caller clears it. p = NULL is a NULL.
static PGresult *result_of(struct bytes value)
{
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	char name[] = "c";
	PGresAttDesc column = { .name = name, .format = 1, .typid = 17, .typlen = -1, .atttypmod = -1 };
	char copy[64] = "";

	assert_non_null(res);
	assert_true(value.n <= sizeof(copy));
	if (value.p)
		memcpy(copy, value.p, value.n);
	assert_true(PQsetResultAttrs(res, 1, &column));
	assert_true(PQsetvalue(res, 0, 0, value.p ? copy : NULL, value.p ? (int)value.n : -1));
	return res;
}

static void assert_bytes(const struct buf *b, struct bytes expected)
{
	assert_int_equal(b->len, expected.n);
	assert_memory_equal(b->data, expected.p, expected.n);
}

#define HEAD(type, count) \
	"\0\0\0\1"        \
	"\0\0\0\0"        \
	"\0\0\0" type "\0\0\0" count "\0\0\0\1"

static void arrays_are_written(void **state)
{
	static const struct bytes expected[] = {
		BYTES("\0\0\0\0"
		      "\0\0\0\0"
		      "\0\0\0\x17"), // none: no dimension at all
		BYTES(HEAD("\x17", "\3") "\0\0\0\4"
					 "\0\0\0\1"
					 "\0\0\0\4"
					 "\xff\xff\xff\xff"
					 "\0\0\0\4"
					 "\x80\0\0\0"),
		BYTES(HEAD("\x14", "\2") "\0\0\0\x8"
					 "\1\2\3\4\5\6\7\x8"
					 "\0\0\0\x8"
					 "\xff\xff\xff\xff\xff\xff\xff\xfe"),
		BYTES(HEAD("\x1b", "\2") "\0\0\0\6"
					 "\x89\xab\xcd\xef"
					 "\xfe\xdc"
					 "\0\0\0\6"
					 "\0\0\0\0"
					 "\0\1"),
		BYTES(HEAD("\x19", "\3") "\0\0\0\2"
					 "ab"
					 "\0\0\0\0"
					 "\0\0\0\3"
					 "x\0y"),
	};
	auto_buf b;

	(void)state;
	buf_init(&b, 1000);
	buf_adds(&b, "forgotten");
	array_begin(&b, ARRAY_INT4, 0);
	assert_bytes(&b, expected[0]);
	array_begin(&b, ARRAY_INT4, 3);
	array_add_int4(&b, 1);
	array_add_int4(&b, -1);
	array_add_int4(&b, INT32_MIN);
	assert_bytes(&b, expected[1]);
	array_begin(&b, ARRAY_INT8, 2);
	array_add_int8(&b, 0x0102030405060708);
	array_add_int8(&b, -2);
	assert_bytes(&b, expected[2]);
	array_begin(&b, ARRAY_TID, 2);
	array_add_tid(&b, (struct tid){ 0x89abcdef, 0xfedc });
	array_add_tid(&b, (struct tid){ 0, 1 });
	assert_bytes(&b, expected[3]);
	array_begin(&b, ARRAY_TEXT, 3);
	array_add_text(&b, "abc", 2); // not NUL-terminated
	array_add_text(&b, "", 0);
	array_add_text(&b, "x\0y", 3);
	assert_bytes(&b, expected[4]);
}

static void an_array_of_300_elements_counts_them(void **state)
{
	auto_buf b;

	(void)state;
	buf_init(&b, 10000);
	array_begin(&b, ARRAY_INT4, 300);
	for (int32_t i = 0; i < 300; i++)
		array_add_int4(&b, i);
	assert_int_equal(b.len, 20 + 300 * 8);
	assert_memory_equal(b.data + 12, "\0\0\1\x2c", 4);
	assert_memory_equal(b.data + b.len - 4, "\0\0\1\x2b", 4);
}

static void parameters(void **state)
{
	auto_buf b;

	(void)state;
	buf_init(&b, 100);
	buf_adds(&b, "forgotten");
	value_int8(&b, INT64_MIN + 1);
	assert_bytes(&b, (struct bytes)BYTES("\x80\0\0\0\0\0\0\1"));
	struct param p = param_binary(&b);
	assert_ptr_equal(p.data, b.data);
	assert_int_equal(p.len, 8);
	assert_true(p.binary);
	p = param_text("text");
	assert_string_equal(p.data, "text");
	assert_false(p.binary);
	assert_null(param_text(NULL).data);
}

static void integers_are_read(void **state)
{
	static const struct {
		struct bytes bytes;
		int64_t value;
	} cases[] = {
		{ BYTES("\0\1"), 1 },
		{ BYTES("\x7f\xff"), INT16_MAX },
		{ BYTES("\x80\0"), INT16_MIN },
		{ BYTES("\xff\xff"), -1 },
		{ BYTES("\0\0\1\0"), 256 },
		{ BYTES("\x7f\xff\xff\xff"), INT32_MAX },
		{ BYTES("\x80\0\0\0"), INT32_MIN },
		{ BYTES("\xff\xff\xff\xff"), -1 },
		{ BYTES("\1\2\3\4\5\6\7\x8"), 0x0102030405060708 },
		{ BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff"), INT64_MAX },
		{ BYTES("\x80\0\0\0\0\0\0\0"), INT64_MIN },
		{ BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), -1 },
		{ { NULL, 0 }, 0 },
		{ BYTES(""), 0 }, // other widths are no integers
		{ BYTES("\1"), 0 },
		{ BYTES("\1\1\1"), 0 },
		{ BYTES("\1\1\1\1\1\1\1\1\1"), 0 },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		PGresult *res = result_of(cases[i].bytes);

		assert_true(value_get_int(res, 0, 0) == cases[i].value);
		assert_int_equal(value_is_null(res, 0, 0), cases[i].bytes.p == NULL);
		PQclear(res);
	}
}

static void times_are_read(void **state)
{
	static const struct {
		struct bytes bytes;
		int64_t us;
	} cases[] = {
		{ BYTES("\0\0\0\0\0\0\0\0"), 946684800000000 }, // 2000-01-01
		{ BYTES("\0\3\x03\x44\x1c\x73\x82\x40"), 1794700800123456 },
		{ BYTES("\xff\xfc\xa2\xfe\xc4\xc8\x20\0"), 0 },    // 1970-01-01
		{ BYTES("\xff\xfc\xa2\xfe\xc4\xc8\x1f\xff"), -1 }, // before
		{ BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff"), 0 },  // infinity
		{ BYTES("\x80\0\0\0\0\0\0\0"), 0 },                // -infinity
		{ BYTES("\x7f\xff\xff\x5b\xb3\xb2\x9f\xff"), 0 },  // the greatest time, 294276-12-31
		{ { NULL, 0 }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		PGresult *res = result_of(cases[i].bytes);

		assert_true(value_get_time_us(res, 0, 0) == cases[i].us);
		PQclear(res);
	}
}

static void what_is_written_is_read(void **state)
{
	static const int64_t numbers[] = { 0,     1,         -1,        255,       256,
					   65535, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN };
	static const struct tid tids[] = {
		{ 0, 0 }, { 0, 1 }, { 1, 0 }, { UINT32_MAX, UINT16_MAX }, { 0x1234567, 300 }
	};
	auto_buf b;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < array_len(numbers); i++) {
		value_int8(&b, numbers[i]);
		PGresult *res = result_of((struct bytes){ b.data, b.len });
		assert_true(value_get_int(res, 0, 0) == numbers[i]);
		PQclear(res);
	}
	for (size_t i = 0; i < array_len(tids); i++) {
		array_begin(&b, ARRAY_TID, 1);
		array_add_tid(&b, tids[i]);
		PGresult *res = result_of((struct bytes){ b.data + b.len - 6, 6 });
		struct tid read = value_get_tid(res, 0, 0);
		assert_int_equal(read.block, tids[i].block);
		assert_int_equal(read.offset, tids[i].offset);
		PQclear(res);
	}
}

static void other_types_are_read(void **state)
{
	static const struct {
		struct bytes bytes;
		double real; // float8
		bool truth;
		bool is_tid;
	} cases[] = {
		{ BYTES("\x3f\xf8\0\0\0\0\0\0"), 1.5, false, false },
		{ BYTES("\xc0\x59\0\0\0\0\0\0"), -100, false, false },
		{ BYTES("\x3f\xc0\0\0"), 0, false, false }, // a float4
		{ BYTES("\1"), 0, true, false },
		{ BYTES("\0"), 0, false, false },
		{ BYTES("t"), 0, true, false },
		{ BYTES("\1\1"), 0, false, false },
		{ BYTES("\0\0\0\2\0\1"), 0, false, true },
		{ BYTES("\0\0\0\2\0\1\0"), 0, false, false },
		{ { NULL, 0 }, 0, false, false },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		PGresult *res = result_of(cases[i].bytes);
		struct tid tid = value_get_tid(res, 0, 0);
		double real = value_get_real(res, 0, 0);

		assert_memory_equal(&real, &cases[i].real, sizeof(real));
		assert_int_equal(value_get_bool(res, 0, 0), cases[i].truth);
		assert_int_equal(tid.block, cases[i].is_tid ? 2 : 0);
		assert_int_equal(tid.offset, cases[i].is_tid ? 1 : 0);
		PQclear(res);
	}
}

static void text_keeps_its_bytes(void **state)
{
	static const struct bytes cases[] = {
		BYTES("abc"), BYTES(""), BYTES("a\0b"), BYTES("\xc3\xa4"), { NULL, 0 }
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		PGresult *res = result_of(cases[i]);
		struct slice s = value_get_text(res, 0, 0);

		assert_int_equal(s.p == NULL, cases[i].p == NULL); // empty is not NULL
		assert_int_equal(s.n, cases[i].n);
		if (s.n > 0)
			assert_memory_equal(s.p, cases[i].p, s.n);
		PQclear(res);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays_are_written),
		cmocka_unit_test(an_array_of_300_elements_counts_them),
		cmocka_unit_test(parameters),
		cmocka_unit_test(integers_are_read),
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(other_types_are_read),
		cmocka_unit_test(text_keeps_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
