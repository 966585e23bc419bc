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
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4);
	for (int i = 0; i < 10; i++)
		assert_false(suspects_again(&s, 7, NAME("a"), &rng));
	suspects_index_works(&s, NAME("b"));
	suspects_index_works(&s, NAME("aa"));
	assert_false(suspects_again(&s, 7, NAME("a"), &rng));
}

static void who_fails_again_while_others_are_accepted_is_to_blame(void **state)
{
	struct suspects s = { 0 };
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4);
	assert_false(suspects_again(&s, 7, NAME("a"), &rng));
	assert_false(suspects_again(&s, 8, NAME("b"), &rng));
	suspects_index_works(&s, NAME("a"));
	assert_true(suspects_again(&s, 7, NAME("a"), &rng));
	assert_false(suspects_again(&s, 8, NAME("b"), &rng));
	// Then the index falls ill: nobody was accepted since, so that is no fault of the event.
	assert_false(suspects_again(&s, 7, NAME("a"), &rng));
	suspects_index_works(&s, NAME("a"));
	assert_true(suspects_again(&s, 7, NAME("a"), &rng));
}

// More of them than there is room for, each coming back in its turn: all come to an end.
static void one_by_lot_makes_room(void **state)
{
	enum { EVENTS = 3 * SUSPECTS_MAX / 2 };
	static struct suspects s;
	bool blamed[EVENTS] = { false };
	struct rng rng;
	int left = EVENTS;

	(void)state;
	rng_seed(&rng, 4);
	for (int round = 0; round < 50 && left > 0; round++) {
		for (int64_t id = 0; id < EVENTS; id++) {
			if (blamed[id] || !suspects_again(&s, id, NAME("a"), &rng))
				continue;
			blamed[id] = true;
			left--;
		}
		suspects_index_works(&s, NAME("a"));
		assert_int_equal(s.waiting, 0);
	}
	assert_int_equal(left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_index_that_takes_nothing_clears_nobody),
		cmocka_unit_test(who_fails_again_while_others_are_accepted_is_to_blame),
		cmocka_unit_test(one_by_lot_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
