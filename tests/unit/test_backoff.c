// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "core/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DRAWS 2000

// Smallest and largest of many waits: full jitter uses the whole range, and nothing outside of it.
struct spread {
	int64_t low, high;
};

static struct spread spread_of(int64_t base_ms, int64_t cap_ms, int step, int64_t at_least_ms)
{
	struct spread s = { INT64_MAX, INT64_MIN };
	struct rng rng;

	rng_seed(&rng, 1);
	for (int i = 0; i < DRAWS; i++) {
		struct backoff b = { .base_ms = base_ms, .cap_ms = cap_ms, .step = step };
		int64_t wait = backoff_next(&b, &rng, at_least_ms);

		s.low = wait < s.low ? wait : s.low;
		s.high = wait > s.high ? wait : s.high;
	}
	return s;
}

static void waits_are_spread_up_to_the_ceiling(void **state)
{
	static const struct {
		int64_t base, cap;
		int step;
		int64_t ceiling;
	} cases[] = {
		{ 100, 30000, 0, 100 },
		{ 100, 30000, 1, 200 },
		{ 100, 30000, 2, 400 },
		{ 100, 30000, 8, 25600 },
		{ 100, 30000, 9, 30000 },
		{ 100, 30000, 62, 30000 },
		{ 1, 10, 3, 8 },
		{ 1, 10, 4, 10 },
		{ 500, 100, 0, 100 },
		{ 1, 1, 50, 1 },
		{ 1, INT64_MAX, 40, 1LL << 40 },
		{ 1000, INT64_MAX, 62, INT64_MAX }, // 1000 * 2^62 does not fit
		{ 3, INT64_MAX, 62, INT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct spread s = spread_of(cases[i].base, cases[i].cap, cases[i].step, -1);
		int64_t twentieth = cases[i].ceiling / 20;

		assert_true(s.low >= 1);
		assert_true(s.low <= 1 + twentieth);
		assert_true(s.high <= cases[i].ceiling);
		assert_true(s.high >= cases[i].ceiling - twentieth);
	}
}

static void retry_after_is_a_floor_under_the_cap(void **state)
{
	static const struct {
		int64_t at_least, low, high;
	} cases[] = {
		{ -1, 1, 800 },
		{ 0, 1, 800 },
		{ 500, 500, 800 },
		{ 800, 800, 800 },
		{ 5000, 5000, 5000 },
		{ 30000, 30000, 30000 },
		{ 86400000, 30000, 30000 },
		{ INT64_MAX, 30000, 30000 },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct spread s = spread_of(100, 30000, 3, cases[i].at_least);

		assert_true(s.low >= cases[i].low && s.low <= cases[i].low + 40);
		assert_true(s.high <= cases[i].high && s.high >= cases[i].high - 40);
	}
}

static void every_failure_is_a_step_and_success_starts_again(void **state)
{
	struct backoff b = { .base_ms = 1, .cap_ms = INT64_MAX };
	struct rng rng;

	(void)state;
	rng_seed(&rng, 2);
	for (int i = 0; i < 200; i++) {
		int64_t ceiling = i < 62 ? INT64_C(1) << i : INT64_MAX;

		assert_int_equal(b.step, i < 62 ? i : 62); // stops where the shift would overflow
		assert_true(backoff_next(&b, &rng, -1) <= ceiling);
	}
	backoff_reset(&b);
	assert_int_equal(b.step, 0);
	assert_int_equal(backoff_next(&b, &rng, -1), 1);
}

static void two_relays_do_not_come_back_in_step(void **state)
{
	struct backoff a = { .base_ms = 1000, .cap_ms = 60000 }, b = a;
	struct rng first, second;
	int same = 0;

	(void)state;
	rng_seed(&first, 1);
	rng_seed(&second, 2);
	for (int i = 0; i < 100; i++)
		same += backoff_next(&a, &first, -1) == backoff_next(&b, &second, -1);
	assert_true(same < 5);
}

static void attempts_of_an_event_are_steps(void **state)
{
	static const struct {
		int attempts;
		int64_t ceiling;
	} cases[] = {
		{ 0, 100 },           { 1, 200 },  { 5, 3200 },        { 20, 30000 },
		{ INT32_MAX, 30000 }, { -1, 100 }, { INT32_MIN, 100 }, // the column is the table's, anything may stand there
	};
	struct rng rng;

	(void)state;
	rng_seed(&rng, 3);
	for (size_t i = 0; i < array_len(cases); i++) {
		int64_t high = 0;

		for (int n = 0; n < DRAWS; n++) {
			int64_t wait = backoff_after(100, 30000, cases[i].attempts, &rng);

			assert_true(wait >= 1 && wait <= cases[i].ceiling);
			high = wait > high ? wait : high;
		}
		assert_true(high >= cases[i].ceiling - cases[i].ceiling / 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_are_spread_up_to_the_ceiling),
		cmocka_unit_test(retry_after_is_a_floor_under_the_cap),
		cmocka_unit_test(every_failure_is_a_step_and_success_starts_again),
		cmocka_unit_test(two_relays_do_not_come_back_in_step),
		cmocka_unit_test(attempts_of_an_event_are_steps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
