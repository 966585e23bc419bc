// SPDX-License-Identifier: MIT
#include "base/buf.h"
#include "base/clock.h"
#include "base/ini.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

// Writes the entries as "line section.key=<value>" so that a row can compare them as one text.
static bool record(void *arg, const struct ini_entry *entry, struct err *e)
{
	struct buf *out = arg;
	buf_addf(out, "%d %s.%s=<%s> ", entry->line, entry->section, entry->key, entry->value);
	return strcmp(entry->key, "stop") != 0 || err_set(e, ERR_CONFIG, "stopped");
}

struct row {
	const char *text;
	const char *entries;
	const char *error; // NULL = none
};

static void check(const struct row *row, size_t len)
{
	auto_buf got;
	buf_init(&got, 4 << 20);
	struct err e = { .kind = ERR_NONE };
	bool ok = ini_parse("f", row->text, len, record, &got, &e);
	assert_string_equal(buf_str(&got), row->entries);
	assert_string_equal(e.text, row->error ? row->error : "");
	assert_int_equal(ok, !row->error);
	if (!ok)
		assert_int_equal(e.kind, ERR_CONFIG);
}

static void reads(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "", "", NULL },
		{ "\n\n  \n# c\n; c\n", "", NULL },
		{ "[a]\nk=v", "2 a.k=<v> ", NULL },
		{ "[a]\r\n  \r\nk = v\r\n", "3 a.k=<v> ", NULL },
		{ "[a]\nk =\t two words \t\n", "2 a.k=<two words> ", NULL },
		{ " \n[ a ] \nk=", "3 a.k=<> ", NULL },
		{ "[a]\nk=x=y # no comment ; neither\n", "2 a.k=<x=y # no comment ; neither> ", NULL },
		{ "[a]\nk=[b]\n", "2 a.k=<[b]> ", NULL },
		{ "[a]\nk=1\nk=2\n[b]\nk=3\n[a]\nj=4\n", "2 a.k=<1> 3 a.k=<2> 5 b.k=<3> 7 a.j=<4> ", NULL },
		{ "[a]\nsql = SELECT 1\n   FROM x\n\tWHERE y = 2  \nk=1",
		  "2 a.sql=<SELECT 1\nFROM x\nWHERE y = 2> 5 a.k=<1> ", NULL },
		{ "[a]\nsql =\n  SELECT\n", "2 a.sql=<SELECT> ", NULL }, // no newline in front
		{ "[a]\nsql = x\n# comment\n  y\n", "2 a.sql=<x\ny> ", NULL },
		{ "[a]\nsql = x\n  [b]\n  # y\n", "2 a.sql=<x\n[b]\n# y> ", NULL },
		{ "[a]\ns\xc3\xa9=\xff", "2 a.s\xc3\xa9=<\xff> ", NULL },
	};
	for (size_t i = 0; i < array_len(rows); i++)
		check(&rows[i], strlen(rows[i].text));
}

static void refuses(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "k=v\n", "", "f:1: a key before the first [section]" },
		{ "\n[a\n", "", "f:2: a section is not closed: write [name]" },
		{ "[]\n", "", "f:1: a section has no name: write [name]" },
		{ "[  ]\n", "", "f:1: a section has no name: write [name]" },
		{ "[", "", "f:1: a section is not closed: write [name]" },
		{ "[a] # c\n", "", "f:1: text behind a section: comments need a line of their own" },
		{ "[a]]\n", "", "f:1: text behind a section: comments need a line of their own" },
		{ "[a]\n= v\n", "", "f:2: nothing in front of the =" },
		{ "[a]\nk=1\nword\n", "2 a.k=<1> ", "f:3: neither a comment, [section] nor key = value" },
		{ "[a]\n  x\n", "", "f:2: an indented line without a value above it to continue" },
		{ "[a]\nk=1\n\n  x\n", "2 a.k=<1> ",
		  "f:4: an indented line without a value above it to continue" },
		{ "[a]\nk=1\n[b]\n  x\n", "2 a.k=<1> ",
		  "f:4: an indented line without a value above it to continue" },
		{ "  [a]\n", "", "f:1: an indented line without a value above it to continue" },
		{ "\xef\xbb\xbf[a]\n", "", "f:1: neither a comment, [section] nor key = value" },
		{ "[a]\nstop=1\n\n\nk=2\n", "2 a.stop=<1> ", "f:2: stopped" },
		{ "[a]\nstop=1", "2 a.stop=<1> ", "f:2: stopped" },
	};
	for (size_t i = 0; i < array_len(rows); i++)
		check(&rows[i], strlen(rows[i].text));
}

static void refuses_nul_bytes(void **state)
{
	(void)state;
	static const struct {
		struct row row;
		size_t len;
	} rows[] = {
		{ { "\0", "", "f:1: a NUL byte: this is not a text file" }, 1 },
		{ { "[a]\n# \0\n", "", "f:2: a NUL byte: this is not a text file" }, 8 },
		{ { "[a]\nk=1\0\n", "", "f:2: a NUL byte: this is not a text file" }, 9 },
		{ { "[a]\nk=1\n \0", "", "f:3: a NUL byte: this is not a text file" }, 10 },
	};
	for (size_t i = 0; i < array_len(rows); i++)
		check(&rows[i].row, rows[i].len);
}

static bool measure(void *arg, const struct ini_entry *entry, struct err *e)
{
	(void)e;
	*(size_t *)arg += strlen(entry->section) * 3 + strlen(entry->key) * 5 + strlen(entry->value) * 7;
	return true;
}

static void reads_megabyte_lines(void **state)
{
	(void)state;
	const size_t mb = 1 << 20;
	auto_free char *x = mem_calloc(mb + 1, 1);
	memset(x, 'x', mb);
	auto_buf text;
	buf_init(&text, 8 * mb);
	buf_addf(&text, "[%s]\n%s = %s\n %s\n", x, x, x, x);
	size_t sum = 0;
	assert_true(ini_parse("f", text.data, text.len, measure, &sum, NULL));
	assert_int_equal(sum, 3 * mb + 5 * mb + 7 * (2 * mb + 1));
}

static void reads_many_lines(void **state)
{
	(void)state;
	auto_buf text;
	buf_init(&text, 8 << 20);
	buf_adds(&text, "[a]\n");
	for (int i = 0; i < 100000; i++)
		buf_adds(&text, "k=vv\n");
	size_t sum = 0;
	assert_true(ini_parse("f", text.data, text.len, measure, &sum, NULL));
	assert_int_equal(sum, 100000 * (3 + 5 + 14));
	buf_adds(&text, "bad");
	struct err e;
	assert_false(ini_parse("f", text.data, text.len, measure, &sum, &e));
	assert_memory_equal(e.text, "f:100002: ", 10);
}

// The text need not end with a NUL byte: sanitizers see a read past its end.
static void noise_is_harmless(void **state)
{
	(void)state;
	static const char alphabet[] = "[]=#; \t\r\n\0ab\xff";
	struct rng r;
	rng_seed(&r, 11);
	int read = 0;
	for (int i = 0; i < 20000; i++) {
		size_t len = (size_t)rng_between(&r, 0, 40);
		auto_free char *text = mem_calloc(len + !len, 1);
		for (size_t n = 0; n < len; n++)
			text[n] = alphabet[rng_between(&r, 0, sizeof(alphabet) - 2)];
		size_t sum = 0;
		struct err e = { .kind = ERR_NONE };
		bool ok = ini_parse("f", text, len, measure, &sum, &e);
		assert_int_equal(ok, e.text[0] == '\0');
		read += ok;
	}
	assert_true(read > 0 && read < 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(refuses),
		cmocka_unit_test(refuses_nul_bytes),
		cmocka_unit_test(reads_megabyte_lines),
		cmocka_unit_test(reads_many_lines),
		cmocka_unit_test(noise_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
