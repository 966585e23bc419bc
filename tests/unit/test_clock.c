// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void clocks_agree_with_the_system(void **state)
{
	(void)state;
	int64_t a = clock_boot_us();
	int64_t ms = clock_boot_ms();
	int64_t b = clock_boot_us();
	assert_true(a <= b);
	assert_true(a / 1000 <= ms && ms <= b / 1000);
	int64_t wall = clock_wall_us();
	assert_true(wall / 1000000 - time(NULL) >= -1 && wall / 1000000 - time(NULL) <= 1);
}

static void same_seed_same_numbers(void **state)
{
	(void)state;
	struct rng a, b, c;
	rng_seed(&a, 42);
	rng_seed(&b, 42);
	rng_seed(&c, 43);
	bool differs = false;
	for (int i = 0; i < 100; i++) {
		uint64_t x = rng_next(&a);
		assert_true(x == rng_next(&b));
		differs |= x != rng_next(&c);
	}
	assert_true(differs);
}

// The first outputs of the authors' xoshiro256** for the state 1, 2, 3, 4.
static void is_xoshiro(void **state)
{
	(void)state;
	static const uint64_t expected[] = { 11520, 0, 1509978240, 1215971899390074240 };
	struct rng r = { { 1, 2, 3, 4 } };
	for (size_t i = 0; i < array_len(expected); i++)
		assert_true(rng_next(&r) == expected[i]);
}

// The authors' splitmix64 for the seed 1234567.
static void seeds_with_splitmix(void **state)
{
	(void)state;
	struct rng r;
	rng_seed(&r, 1234567);
	assert_true(r.s[0] == 6457827717110365317u);
	assert_true(r.s[1] == 3203168211198807973u);
}

static void between_keeps_its_bounds(void **state)
{
	(void)state;
	static const struct {
		int64_t low, high;
	} rows[] = {
		{ 0, 0 },
		{ -5, -5 },
		{ 0, 1 },
		{ -3, 3 },
		{ INT64_MIN, INT64_MAX },
		{ INT64_MIN, INT64_MIN },
		{ INT64_MAX - 1, INT64_MAX },
		{ INT64_MIN, 0 },
		{ -1, INT64_MAX },
	};
	struct rng r;
	rng_seed(&r, 1);
	for (size_t i = 0; i < array_len(rows); i++) {
		bool low = false, high = false;
		for (int n = 0; n < 500; n++) {
			int64_t x = rng_between(&r, rows[i].low, rows[i].high);
			assert_true(x >= rows[i].low && x <= rows[i].high);
			low |= x == rows[i].low;
			high |= x == rows[i].high;
		}
		// Both ends are reached where that is likely.
		if ((uint64_t)rows[i].high - (uint64_t)rows[i].low < 10)
			assert_true(low && high);
	}
}

static void between_is_even(void **state)
{
	(void)state;
	struct rng r;
	rng_seed(&r, 7);
	int counts[5] = { 0 };
	for (int n = 0; n < 50000; n++)
		counts[rng_between(&r, 10, 14) - 10]++;
	for (size_t i = 0; i < array_len(counts); i++)
		assert_in_range(counts[i], 9600, 10400);
}

// Three quarters of all 64-bit numbers: without rejection the first third would come half of the time.
static void between_is_even_over_wide_ranges(void **state)
{
	(void)state;
	struct rng r;
	rng_seed(&r, 7);
	const int64_t third = INT64_C(1) << 62;
	int first = 0;
	for (int n = 0; n < 30000; n++)
		first += rng_between(&r, INT64_MIN, third - 1) < INT64_MIN + third;
	assert_in_range(first, 9500, 10500);
}

static void system_seeds_differ(void **state)
{
	(void)state;
	struct rng a, b;
	rng_seed_from_system(&a);
	rng_seed_from_system(&b);
	assert_memory_not_equal(&a, &b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clocks_agree_with_the_system),
		cmocka_unit_test(same_seed_same_numbers),
		cmocka_unit_test(is_xoshiro),
		cmocka_unit_test(seeds_with_splitmix),
		cmocka_unit_test(between_keeps_its_bounds),
		cmocka_unit_test(between_is_even),
		cmocka_unit_test(between_is_even_over_wide_ranges),
		cmocka_unit_test(system_seeds_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
