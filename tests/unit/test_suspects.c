// SPDX-License-Identifier: MIT
#include "core/suspects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NAME(text) ((struct slice){ text, sizeof(text) - 1 })

static void an_index_that_takes_nothing_clears_nobody(void **state)
{
	struct suspects s = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_false(suspects_again(&s, 7, NAME("a")));
	suspects_index_works(&s, NAME("b"));
	suspects_index_works(&s, NAME("aa"));
	assert_false(suspects_again(&s, 7, NAME("a")));
}

static void who_fails_again_while_others_are_accepted_is_to_blame(void **state)
{
	struct suspects s = { 0 };

	(void)state;
	assert_false(suspects_again(&s, 7, NAME("a")));
	assert_false(suspects_again(&s, 8, NAME("b")));
	suspects_index_works(&s, NAME("a"));
	assert_true(suspects_again(&s, 7, NAME("a")));
	assert_false(suspects_again(&s, 8, NAME("b")));
	// Then the index falls ill: nobody was accepted since, so that is no fault of the event.
	assert_false(suspects_again(&s, 7, NAME("a")));
	suspects_index_works(&s, NAME("a"));
	assert_true(suspects_again(&s, 7, NAME("a")));
}

static void the_oldest_makes_room(void **state)
{
	struct suspects s = { 0 };

	(void)state;
	for (int64_t id = 0; id <= SUSPECTS_MAX; id++)
		assert_false(suspects_again(&s, id, NAME("a")));
	suspects_index_works(&s, NAME("a"));
	assert_int_equal(s.waiting, 0);
	for (int64_t id = 1; id <= SUSPECTS_MAX; id++)
		assert_true(suspects_again(&s, id, NAME("a")));
	assert_int_equal(s.waiting, SUSPECTS_MAX);
	assert_false(suspects_again(&s, 0, NAME("a")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_index_that_takes_nothing_clears_nobody),
		cmocka_unit_test(who_fails_again_while_others_are_accepted_is_to_blame),
		cmocka_unit_test(the_oldest_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
