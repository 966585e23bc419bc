// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "pg/plans.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FIRST "outboxd_0000000000000abc_0"

static const char one[] = "SELECT 1", two[] = "SELECT 2";

static struct plans met(void)
{
	struct plans p = { 0 };

	plans_begin(&p, 0xabc);
	plans_meet(&p, 4711, 4711);
	return p;
}

static void only_where_nobody_stands_between(void **state)
{
	static const struct {
		int told;
		int64_t asked;
		bool kept;
	} cases[] = {
		{ 4711, 4711, true },
		{ 4711, 4712, false },
		{ -4711, 4711, false }, // a number that was made up may be any
		{ 0, 0, false },        // nothing was told
		{ 4711, 4711 + (INT64_C(1) << 32), false },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct plans p = { 0 };

		plans_begin(&p, 0xabc);
		assert_false(plans_are_kept(&p));
		plans_meet(&p, cases[i].told, cases[i].asked);
		assert_int_equal(plans_are_kept(&p), cases[i].kept);
	}
}

static void a_name_is_new_once_in_a_session(void **state)
{
	struct plans p = met();
	char name[PLANS_NAME_MAX];

	(void)state;
	assert_false(plans_name(&p, one, 1000, name));
	assert_string_equal(name, FIRST);
	assert_false(plans_name(&p, two, 1000, name));
	assert_string_equal(name, "outboxd_0000000000000abc_1");
	assert_true(plans_name(&p, one, 1000, name));
	assert_string_equal(name, FIRST);
	plans_begin(&p, 0xabc);
	assert_false(plans_are_kept(&p)); // not before the new session was met
	plans_meet(&p, 4712, 4712);
	assert_false(plans_name(&p, two, 1000, name));
	assert_string_equal(name, FIRST);
}

static void what_failed_is_not_believed_any_more(void **state)
{
	struct plans p = met();
	char name[PLANS_NAME_MAX];

	(void)state;
	plans_failed(&p, "57014");
	assert_false(p.stale); // nothing was kept
	plans_name(&p, one, 1000, name);
	plans_failed(&p, "0A000");
	assert_true(p.stale);
	plans_failed(&p, "57014");
	assert_true(p.stale);
	plans_forget(&p);
	assert_false(p.stale);
	assert_true(plans_are_kept(&p));
	assert_false(plans_name(&p, one, 1000, name));
}

static void nothing_gets_old(void **state)
{
	struct plans p = met();
	char name[PLANS_NAME_MAX];

	(void)state;
	assert_false(plans_are_stale(&p, INT64_MAX)); // there is nothing yet
	plans_name(&p, one, 1000, name);
	plans_name(&p, two, 20000, name); // as old as the first one
	assert_false(plans_are_stale(&p, 1000 + PLANS_AGE_MS - 1));
	assert_true(plans_are_stale(&p, 1000 + PLANS_AGE_MS));
	plans_forget(&p);
	assert_false(plans_are_stale(&p, 1000 + PLANS_AGE_MS));
	plans_name(&p, one, 50000, name);
	assert_false(plans_are_stale(&p, 50000));
}

static void who_was_wrong_once_keeps_nothing(void **state)
{
	static const char *const states[] = { "26000", "42P05", "08P01" };

	(void)state;
	for (size_t i = 0; i < array_len(states); i++) {
		struct plans p = met();
		char name[PLANS_NAME_MAX];

		plans_failed(&p, states[i]); // nothing had a name: it was something else
		assert_true(plans_are_kept(&p));
		plans_name(&p, one, 1000, name);
		plans_failed(&p, states[i]);
		assert_false(plans_are_kept(&p));
		plans_begin(&p, 0xabc);
		plans_meet(&p, 4711, 4711);
		assert_false(plans_are_kept(&p));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_where_nobody_stands_between),
		cmocka_unit_test(a_name_is_new_once_in_a_session),
		cmocka_unit_test(what_failed_is_not_believed_any_more),
		cmocka_unit_test(nothing_gets_old),
		cmocka_unit_test(who_was_wrong_once_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
