// SPDX-License-Identifier: MIT
#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void starts_empty(void **state)
{
	(void)state;
	auto_buf b;
	buf_init(&b, 10);
	assert_null(b.data);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(b.len, 0);
	assert_false(b.full);
	buf_truncate(&b, 0);
	buf_clear(&b);
	buf_trim(&b, 0);
	buf_add(&b, NULL, 0);
	assert_null(b.data);
}

static void adds_bytes_text_and_formats(void **state)
{
	(void)state;
	auto_buf b;
	buf_init(&b, 1000);
	buf_add(&b, "a\0b", 3);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.data, "a\0b", 4); // with the NUL that is not counted
	buf_clear(&b);
	buf_adds(&b, "one");
	buf_addc(&b, ' ');
	buf_addf(&b, "%d-%s", 2, "three");
	assert_string_equal(buf_str(&b), "one 2-three");
	assert_int_equal(b.len, 11);
}

// Whatever the sizes of the pieces, the content is their concatenation and the NUL is there.
static void grows_by_any_steps(void **state)
{
	(void)state;
	for (size_t step = 1; step < 300; step += 7) {
		auto_buf b;
		buf_init(&b, 10000);
		for (size_t at = 0; at + step <= 10000; at += step) {
			auto_free char *piece = mem_calloc(step + 1, 1);
			memset(piece, 'a' + (int)(at % 26), step);
			buf_adds(&b, piece);
			assert_int_equal(b.len, at + step);
			assert_int_equal(b.data[at], piece[0]);
			assert_int_equal(b.data[b.len], 0);
			assert_true(b.cap <= b.max + 1);
		}
		assert_false(b.full);
		assert_int_equal(b.data[0], 'a');
	}
}

static void keeps_its_maximum(void **state)
{
	(void)state;
	static const struct {
		size_t max;
		const char *first, *second;
		const char *expected;
		bool full;
	} rows[] = {
		{ 0, "", "", "", false },
		{ 0, "", "x", "", true },
		{ 3, "abc", "", "abc", false },
		{ 3, "ab", "c", "abc", false },
		{ 3, "ab", "cd", "ab", true }, // all or nothing
		{ 3, "abcd", "e", "", true },  // later additions are ignored too
		{ 64, "0123456789012345678901234567890123456789012345678901234567890123", "x",
		  "0123456789012345678901234567890123456789012345678901234567890123", true },
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		for (int formatted = 0; formatted <= 1; formatted++) {
			auto_buf b;
			buf_init(&b, rows[i].max);
			const char *texts[] = { rows[i].first, rows[i].second };
			for (int t = 0; t < 2; t++) {
				if (formatted)
					buf_addf(&b, "%s", texts[t]);
				else
					buf_adds(&b, texts[t]);
			}
			assert_string_equal(buf_str(&b), rows[i].expected);
			assert_int_equal(b.full, rows[i].full);
		}
	}
}

static void full_ends_with_clear_only(void **state)
{
	(void)state;
	auto_buf b;
	buf_init(&b, 4);
	buf_adds(&b, "12345");
	buf_truncate(&b, 0);
	assert_true(b.full);
	buf_addc(&b, 'x');
	assert_int_equal(b.len, 0);
	buf_clear(&b);
	assert_false(b.full);
	buf_addc(&b, 'x');
	assert_string_equal(buf_str(&b), "x");
}

static void huge_additions_do_not_overflow(void **state)
{
	(void)state;
	auto_buf b;
	buf_init(&b, 100);
	buf_adds(&b, "abc");
	const size_t sizes[] = { 98, 101, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 3, SIZE_MAX / 2 };
	for (size_t i = 0; i < array_len(sizes); i++) {
		assert_false(buf_reserve(&b, sizes[i]));
		assert_true(b.full);
		assert_string_equal(buf_str(&b), "abc");
		b.full = false;
	}
	assert_true(buf_reserve(&b, 97));
	assert_true(b.cap >= 101);
}

static void formats_a_megabyte(void **state)
{
	(void)state;
	auto_free char *text = mem_calloc((1 << 20) + 1, 1);
	memset(text, 'x', 1 << 20);
	auto_buf b;
	buf_init(&b, 2 << 20);
	buf_addf(&b, "<%s>", text);
	assert_int_equal(b.len, (1 << 20) + 2);
	assert_int_equal(b.data[b.len - 1], '>');
	buf_addf(&b, "<%s>", text); // no room
	assert_true(b.full);
	assert_int_equal(b.len, (1 << 20) + 2);
	assert_int_equal(b.data[b.len], 0);
}

static void truncates(void **state)
{
	(void)state;
	auto_buf b;
	buf_init(&b, 100);
	buf_adds(&b, "hello");
	buf_truncate(&b, 2);
	assert_string_equal(buf_str(&b), "he");
	buf_adds(&b, "y");
	assert_string_equal(buf_str(&b), "hey");
}

static void trims(void **state)
{
	(void)state;
	static const struct {
		size_t cap, expected_most;
	} rows[] = { { 0, 0 }, { 1, 1 }, { 100, 100 }, { 1 << 20, 8192 } };
	for (size_t i = 0; i < array_len(rows); i++) {
		auto_buf b;
		buf_init(&b, 4096);
		for (int n = 0; n < 4096; n++)
			buf_addc(&b, 'x');
		buf_trim(&b, rows[i].cap);
		assert_int_equal(b.len, 0);
		assert_true(b.cap <= rows[i].expected_most);
		assert_string_equal(buf_str(&b), "");
		buf_adds(&b, "again");
		assert_string_equal(buf_str(&b), "again");
	}
}

static void gives_its_text_away(void **state)
{
	(void)state;
	auto_buf b;
	buf_init(&b, 5);
	auto_free char *empty = buf_take(&b);
	assert_string_equal(empty, "");
	buf_adds(&b, "hello");
	auto_free char *text = buf_take(&b);
	assert_string_equal(text, "hello");
	assert_int_equal(b.len, 0);
	buf_adds(&b, "world");
	assert_string_equal(buf_str(&b), "world");
	assert_string_equal(text, "hello");
}

static void memory_is_never_null(void **state)
{
	(void)state;
	free(mem_calloc(0, 0));
	free(mem_calloc(5, 0));
	free(mem_realloc(NULL, 0, 8));
	auto_free char *zero = mem_calloc(3, 2);
	assert_memory_equal(zero, "\0\0\0\0\0\0", 6);
	auto_free char *cut = mem_strndup("abcdef", 3);
	assert_string_equal(cut, "abc");
	auto_free char *copy = mem_strdup("");
	assert_string_equal(copy, "");
}

// A size that overflows counts as no memory. (A sanitizer ends the process in its own way.)
static void no_memory_ends_the_process(void **state)
{
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (!child) {
		close(STDERR_FILENO);
		volatile size_t count = SIZE_MAX / 2;
		free(mem_realloc(NULL, count, 4));
		_exit(0);
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_not_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_empty),
		cmocka_unit_test(adds_bytes_text_and_formats),
		cmocka_unit_test(grows_by_any_steps),
		cmocka_unit_test(keeps_its_maximum),
		cmocka_unit_test(full_ends_with_clear_only),
		cmocka_unit_test(huge_additions_do_not_overflow),
		cmocka_unit_test(formats_a_megabyte),
		cmocka_unit_test(truncates),
		cmocka_unit_test(trims),
		cmocka_unit_test(gives_its_text_away),
		cmocka_unit_test(memory_is_never_null),
		cmocka_unit_test(no_memory_ends_the_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
