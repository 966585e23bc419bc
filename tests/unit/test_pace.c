// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "core/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KB 1024
#define MB (1024 * 1024)
#define LEAST (16 * KB) // the smallest batch_bytes that the configuration takes
#define NEVER INT64_MAX

static const struct pace_limits limits = {
	.rows_max = 5000, .bytes_max = MB, .workers_max = 4, .poll_ms = 1000
};

static struct pace fresh(void)
{
	struct pace p;

	pace_init(&p, &limits);
	return p;
}

// At rest: nothing woke it, nothing is missing.
static struct pace resting(bool notified)
{
	struct pace p = fresh();

	p.notified = notified;
	pace_looking(&p, 0, true, true);
	pace_claimed(&p, 0, 0, false, false);
	return p;
}

static void starts_at_once_within_its_limits(void **state)
{
	static const struct {
		int64_t rows_max, rows;
	} cases[] = { { 5000, 500 }, { 500, 500 }, { 499, 499 }, { 1, 1 } };

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct pace_limits l = limits;
		struct pace p;

		l.rows_max = cases[i].rows_max;
		pace_init(&p, &l);
		assert_int_equal(p.rows, cases[i].rows);
		assert_int_equal(p.bytes, MB);
		assert_int_equal(p.workers, 4);
		assert_int_equal(pace_next_look(&p, NEVER), 0);
	}
}

static void polling_gets_slower_while_nothing_comes(void **state)
{
	static const int64_t gaps[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000 };
	struct pace p = fresh();
	int64_t now = 5000;

	(void)state;
	for (size_t i = 0; i < array_len(gaps); i++) {
		pace_looking(&p, 0, true, true);
		pace_claimed(&p, now, 0, false, false);
		assert_int_equal(pace_next_look(&p, NEVER), now + gaps[i]);
		now += gaps[i];
	}
	pace_claimed(&p, now, 3, false, false); // something came: look again at once, then slower and slower
	assert_int_equal(pace_next_look(&p, NEVER), now);
	pace_claimed(&p, now, 0, false, false);
	assert_int_equal(pace_next_look(&p, NEVER), now + 1);
}

static void after_a_claim(void **state)
{
	static const struct {
		bool notified;
		int64_t rows;
		bool full;
		int64_t next; // 0 = at once
	} cases[] = {
		{ false, 0, false, 7001 }, { false, 5, false, 7000 },
		{ false, 500, true, 0 },   { true, 0, false, 8000 }, // a wake-up will tell
		{ true, 5, false, 8000 },  { true, 500, true, 0 },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct pace p = fresh();

		p.notified = cases[i].notified;
		pace_looking(&p, 0, true, true);
		pace_claimed(&p, 7000, cases[i].rows, cases[i].full, false);
		assert_int_equal(p.hungry, cases[i].full);
		assert_int_equal(pace_next_look(&p, NEVER), cases[i].next);
	}
}

// The rule for a wake-up: it is only answered by a look that saw every lane from zero.
static void a_wakeup_is_not_lost(void **state)
{
	static const struct {
		bool all_lanes, sweep;
		bool again; // when the others set their lanes free
		bool sweep_wanted;
	} cases[] = {
		{ true, true, false, false },
		{ true, false, false, true }, // the row may have committed late, behind the bound
		{ false, true, true, true },
		{ false, false, true, true },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct pace p = resting(true);

		assert_int_equal(pace_next_look(&p, NEVER), 1000);
		pace_wake(&p);
		assert_int_equal(pace_next_look(&p, NEVER), 0);
		pace_looking(&p, 0, cases[i].all_lanes, cases[i].sweep);
		pace_claimed(&p, 100, 0, false, false);
		assert_int_equal(pace_next_look(&p, NEVER), 1100);
		assert_int_equal(pace_next_look(&p, 150), cases[i].sweep_wanted ? 150 : 1100);
		assert_int_equal(pace_next_look(&p, 2000), 1100); // a sweep that is far off delays nothing
		pace_released(&p);
		assert_int_equal(pace_next_look(&p, NEVER), cases[i].again ? 0 : 1100);
		assert_false(p.missed);
	}
}

static void a_look_without_a_wakeup_owes_nothing(void **state)
{
	struct pace p = resting(true);

	(void)state;
	pace_looking(&p, 0, false, false); // a routine poll while others hold lanes
	pace_claimed(&p, 100, 0, false, false);
	pace_released(&p);
	assert_int_equal(pace_next_look(&p, 150), 1100);
	// But what an earlier wake-up is owed stays owed.
	pace_wake(&p);
	pace_looking(&p, 0, false, false);
	pace_looking(&p, 0, true, false);
	pace_claimed(&p, 200, 0, false, false);
	assert_int_equal(pace_next_look(&p, 250), 250);
	pace_looking(&p, 0, false, true); // a sweep that left out lanes does not settle it
	assert_true(p.sweep_wanted);
	pace_looking(&p, 0, true, true);
	assert_false(p.sweep_wanted);
	pace_released(&p);
	assert_true(p.woken);
}

static void a_claim_is_made_to_fit_one_request(void **state)
{
	static const struct {
		int64_t before, rows, bytes;
		bool full;
		int64_t after;
	} cases[] = {
		{ 500, 0, 0, false, 500 },           // nothing learned
		{ 500, 3, 0, false, 500 },           // only refused rows
		{ 500, 64, -9000, true, 500 },       // updates that merged into less, sent more than once
		{ 500, 500, 500 * 420, true, 1000 }, // much room: at most twice as many
		{ 500, 500, 900 * KB, true, 568 },   // a little room: as many as fit
		{ 500, 500, 500 * 420, false, 500 }, // not full: more would not have come
		{ 500, 500, 4 * MB, true, 125 },     // four requests: a quarter
		{ 500, 500, 4 * MB, false, 125 },
		{ 500, 1, 100 * KB, false, 10 },
		{ 500, 2, 50 * MB, false, 1 }, // never less than one
		{ 4000, 4000, 40000, true, 5000 },
		{ 1, 1, 50 * MB, true, 1 },
		{ 1, 1, 420, true, 2 },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct pace p = fresh();

		p.rows = cases[i].before;
		pace_filled(&p, cases[i].rows, cases[i].bytes, cases[i].full);
		if (p.rows != cases[i].after)
			fail_msg("case %zu: %lld rows", i, (long long)p.rows);
	}
}

static void load_signals_halve_and_success_grows(void **state)
{
	struct pace p = fresh();
	int64_t bytes = MB;

	(void)state;
	for (int i = 0; i < 8; i++) {
		pace_slow(&p);
		bytes = bytes / 2 > LEAST ? bytes / 2 : LEAST;
		assert_int_equal(p.bytes, bytes);
		assert_int_equal(p.workers, i == 0 ? 2 : 1);
	}
	assert_int_equal(p.limits.bytes_max, MB); // a load signal says nothing about the largest request
	for (int i = 0; i < 7; i++)
		pace_good(&p);
	assert_int_equal(p.bytes, LEAST);
	pace_slow(&p); // the count starts again
	for (int i = 0; i < 7; i++)
		pace_good(&p);
	assert_int_equal(p.bytes, LEAST);
	assert_int_equal(p.workers, 1);
	pace_good(&p);
	assert_int_equal(p.bytes, LEAST + LEAST / 4);
	assert_int_equal(p.workers, 2);
	for (int i = 0; i < 8 * 100; i++)
		pace_good(&p);
	assert_int_equal(p.bytes, MB); // back at the limit and not above
	assert_int_equal(p.workers, 4);
}

static void a_slow_claim_is_made_smaller(void **state)
{
	static const int64_t rows[] = { 125, 31, 7, 1, 1 };
	struct pace p = fresh();

	(void)state;
	for (size_t i = 0; i < array_len(rows); i++) {
		pace_fewer_rows(&p);
		assert_int_equal(p.rows, rows[i]);
	}
}

static void a_limit_is_learned(void **state)
{
	static const struct {
		int64_t refused; // a request of so many bytes was too large
		int64_t limit;
	} cases[] = {
		{ MB, MB / 2 },
		{ MB - 2, MB / 2 - 1 },
		{ 40 * KB, 20 * KB },
		{ 100, LEAST },            // not to nothing
		{ 100 * (int64_t)MB, MB }, // one huge document: says nothing about ours
		{ 2 * MB, MB },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct pace p = fresh();

		pace_too_large(&p, cases[i].refused);
		assert_int_equal(p.limits.bytes_max, cases[i].limit);
		assert_int_equal(p.bytes, cases[i].limit);
		for (int n = 0; n < 8 * 100; n++)
			pace_good(&p);
		assert_int_equal(p.bytes, cases[i].limit); // success does not grow past it
	}
}

static void a_lowered_pace_is_not_raised_by_a_limit(void **state)
{
	struct pace p = fresh();

	(void)state;
	pace_slow(&p);
	pace_slow(&p);
	assert_int_equal(p.bytes, MB / 4);
	pace_too_large(&p, MB);
	assert_int_equal(p.limits.bytes_max, MB / 2);
	assert_int_equal(p.bytes, MB / 4);
}

static void few_requests_at_rest_all_with_a_backlog(void **state)
{
	static const struct {
		bool hungry;
		int workers, in_flight;
		int64_t start;
	} cases
		[] = {
			{ false, 4, 0, 0 },    { false, 4, 1, 1005 }, // the first one's answer takes long: the next do not wait for it
			{ false, 4, 3, 1005 }, { false, 4, 4, NEVER }, { false, 1, 1, NEVER },
			{ true, 4, 0, 0 },     { true, 4, 3, 0 },      { true, 4, 4, NEVER },
			{ true, 2, 3, NEVER }, // a load signal came while three were under way
		};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct pace p = fresh();

		pace_looking(&p, 1000, true, false);
		pace_claimed(&p, 900, 500, cases[i].hungry, false);
		p.workers = cases[i].workers;
		assert_int_equal(pace_next_start(&p, cases[i].in_flight), cases[i].start);
	}
}

static void others_hold_the_lanes(void **state)
{
	static const struct {
		int64_t rows;
		bool full, others;
		bool crowded; // after it
		int yielded;
	} looks[] = {
		{ 0, false, true, true, 1 }, // at the start there may be a backlog: one batch fewer
		{ 0, false, true, true,
		  1 }, // it looks again after a pause, which is not due to a claim of its own
		{ 500, true, false, false, 1 }, // the others were between two claims
		{ 500, true, true, true, 1 },   // it got some of the lanes
		{ 0, false, true, true, 2 },    //
		{ 500, true, true, true, 2 },   //
		{ 0, false, true, true, 3 },    //
		{ 500, true, true, true, 3 },   //
		{ 0, false, true, true, 3 },    // never all
		{ 500, true, false, false, 3 }, // the others are gone
		{ 3, false, false, false, 0 },  // all that there was
		{ 0, false, true, false, 0 },   // at rest whoever comes first has it
	};
	struct pace p = fresh();

	(void)state;
	for (size_t i = 0; i < array_len(looks); i++) {
		pace_claimed(&p, 0, looks[i].rows, looks[i].full, looks[i].others);
		assert_int_equal(p.crowded, looks[i].crowded);
		assert_int_equal(p.yielded, looks[i].yielded);
		assert_int_equal(p.workers, 4);
		assert_int_equal(pace_next_start(&p, 3) == INT64_MAX, p.yielded > 0);
	}
	p.yielded = 3;
	for (int i = 0; i < 8; i++)
		pace_good(&p);
	assert_int_equal(p.yielded, 2);
}

static void the_end_of_a_backlog_is_no_crowd(void **state)
{
	struct pace p = fresh();

	(void)state;
	pace_claimed(&p, 0, 500, true, false);
	pace_claimed(&p, 0, 0, false, false);
	assert_false(p.crowded);
	assert_int_equal(p.yielded, 0);
}

// Each of a backlog's looks is for a share of the lanes: where they are empty, or held by others, the rest may be full.
static void after_a_backlog_all_lanes_are_looked_at(void **state)
{
	static const int64_t rows[] = { 0, 5 };

	(void)state;
	for (size_t i = 0; i < array_len(rows); i++) {
		for (int others = 0; others < 2; others++) {
			struct pace p = fresh();

			p.notified = true;
			pace_looking(&p, 100, true, false);
			pace_claimed(&p, 100, rows[i], false, others);
			pace_claimed(&p, 100, 5, false, false); // another one, which was under way
			assert_int_equal(pace_next_look(&p, NEVER), 0);
			pace_looking(&p, 100, true, false);
			pace_claimed(&p, 100, 0, false, false);
			assert_int_equal(pace_next_look(&p, NEVER), 1100);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_requests_at_rest_all_with_a_backlog),
		cmocka_unit_test(starts_at_once_within_its_limits),
		cmocka_unit_test(polling_gets_slower_while_nothing_comes),
		cmocka_unit_test(after_a_claim),
		cmocka_unit_test(a_wakeup_is_not_lost),
		cmocka_unit_test(a_look_without_a_wakeup_owes_nothing),
		cmocka_unit_test(a_claim_is_made_to_fit_one_request),
		cmocka_unit_test(load_signals_halve_and_success_grows),
		cmocka_unit_test(a_slow_claim_is_made_smaller),
		cmocka_unit_test(a_limit_is_learned),
		cmocka_unit_test(others_hold_the_lanes),
		cmocka_unit_test(the_end_of_a_backlog_is_no_crowd),
		cmocka_unit_test(after_a_backlog_all_lanes_are_looked_at),
		cmocka_unit_test(a_lowered_pace_is_not_raised_by_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
