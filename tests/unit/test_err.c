// SPDX-License-Identifier: MIT
#include "base/err.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void sets_kind_and_sentence(void **state)
{
	(void)state;
	struct err e;
	memset(&e, 0xff, sizeof(e));
	assert_false(err_set(&e, ERR_DATA, "row %d is %s", 7, "broken"));
	assert_int_equal(e.kind, ERR_DATA);
	assert_string_equal(e.text, "row 7 is broken");
	assert_string_equal(e.sqlstate, "");
}

static void null_is_allowed(void **state)
{
	(void)state;
	assert_false(err_set(NULL, ERR_BUG, "x"));
	assert_false(err_prefix(NULL, "x"));
}

static void prefixes(void **state)
{
	(void)state;
	struct err e;
	(void)err_set(&e, ERR_UNAVAILABLE, "100%% refused %%s");
	memcpy(e.sqlstate, "08006", 6);
	assert_false(err_prefix(&e, "host %s:%d", "db", 5432));
	assert_string_equal(e.text, "host db:5432: 100% refused %s");
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_string_equal(e.sqlstate, "08006");
}

static void its_own_text_may_be_an_argument(void **state)
{
	(void)state;
	struct err e;
	(void)err_set(&e, ERR_DATA, "inner");
	(void)err_set(&e, ERR_CONFIG, "outer (%s)", e.text);
	assert_string_equal(e.text, "outer (inner)");
	(void)err_prefix(&e, "again %s", e.text);
	assert_string_equal(e.text, "again outer (inner): outer (inner)");
}

static void long_sentences_are_cut_visibly(void **state)
{
	(void)state;
	const size_t size = sizeof(((struct err *)NULL)->text);
	auto_free char *text = mem_calloc((1 << 20) + 1, 1);
	memset(text, 'x', 1 << 20);
	struct err e;
	(void)err_set(&e, ERR_DATA, "%s", text);
	assert_int_equal(strlen(e.text), size - 1);
	assert_string_equal(e.text + size - 5, "x...");
	(void)err_prefix(&e, "front");
	assert_int_equal(strlen(e.text), size - 1);
	assert_memory_equal(e.text, "front: xxx", 10);
	assert_string_equal(e.text + size - 5, "x...");

	(void)err_set(&e, ERR_DATA, "%.*s", (int)size - 1, text); // fits exactly
	assert_string_equal(e.text + size - 5, "xxxx");
	(void)err_prefix(&e, "%s", text);
	assert_string_equal(e.text + size - 5, "x...");
}

static void kinds_have_names_and_exit_codes(void **state)
{
	(void)state;
	static const struct {
		enum err_kind kind;
		int code;
		const char *name;
	} rows[] = {
		{ ERR_NONE, 0, "none" },        { ERR_USAGE, 64, "usage" },
		{ ERR_CONFIG, 78, "config" },   { ERR_UNAVAILABLE, 75, "unavailable" },
		{ ERR_REFUSED, 77, "refused" }, { ERR_DATA, 65, "data" },
		{ ERR_BUG, 70, "bug" },
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		assert_int_equal(err_exit_code(rows[i].kind), rows[i].code);
		assert_string_equal(err_kind_name(rows[i].kind), rows[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_kind_and_sentence),
		cmocka_unit_test(null_is_allowed),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(its_own_text_may_be_an_argument),
		cmocka_unit_test(long_sentences_are_cut_visibly),
		cmocka_unit_test(kinds_have_names_and_exit_codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
