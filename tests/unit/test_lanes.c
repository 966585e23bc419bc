// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "base/clock.h"
#include "core/lanes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LEAST_US 500000
#define SECOND_US INT64_C(1000000)
#define ALL 0xFFFFu
#define PER_LANE 3
// No transaction is open beside the claims.
#define OPEN_SKY ((struct horizon){ 2, 2, l.epoch })

static struct lanes fresh(void)
{
	struct lanes l;

	lanes_init(&l, LEAST_US);
	return l;
}

// A claim of one lane from its bound (or from zero), with these ids; PER_LANE is its limit.
struct claim {
	int64_t bound; // before it
	bool sweep;
	int64_t ids[PER_LANE]; // 0 = none
	bool committed, returned;
	int64_t after;
};

static void a_plan_reserves_what_is_free(void **state)
{
	struct lanes l = fresh();
	struct lane_plan first, second;

	(void)state;
	assert_int_equal(lanes_free_count(&l), LANES);
	lanes_plan(&l, 1, &first);
	assert_int_equal(first.count, LANES);
	assert_true(first.sweep); // nothing is known at the start
	assert_int_equal(first.started_us, 1);
	assert_int_equal(lanes_free_count(&l), 0);
	lanes_plan(&l, 2, &second);
	assert_int_equal(second.count, 0);
	lanes_granted(&l, &first, 1u << 3 | 1u << 15);
	assert_int_equal(lanes_free_count(&l), LANES - 2);
	lanes_plan(&l, 3, &second);
	assert_int_equal(second.count, LANES - 2);
	for (int i = 0; i < second.count; i++)
		assert_true(second.lane[i] != 3 && second.lane[i] != 15);
	lanes_granted(&l, &second, 0); // the database gave none
	lanes_release(&l, 1u << 3 | 1u << 15, CLAIM_COMMITTED, PER_LANE, OPEN_SKY);
	assert_int_equal(lanes_free_count(&l), LANES);
}

static void every_lane_comes_first_in_turn(void **state)
{
	struct lanes l = fresh();
	uint32_t seen = 0;

	(void)state;
	for (int i = 0; i < LANES; i++) {
		struct lane_plan plan;
		uint32_t lanes = 0;

		lanes_plan(&l, 0, &plan);
		seen |= 1u << plan.lane[0];
		for (int n = 0; n < plan.count; n++)
			lanes |= 1u << plan.lane[n];
		assert_int_equal(lanes, ALL); // each once
		lanes_granted(&l, &plan, 0);
	}
	assert_int_equal(seen, ALL);
}

static int64_t bound_after(const struct claim *c)
{
	struct lanes l = fresh();
	struct lane_plan plan;
	int64_t now_us = c->sweep ? 0 : -1;

	l.lane[5].bound = c->bound;
	lanes_plan(&l, now_us, &plan);
	assert_int_equal(plan.sweep, c->sweep);
	for (int i = 0; i < plan.count; i++)
		assert_int_equal(plan.bound[i], plan.lane[i] == 5 && !c->sweep ? c->bound : LANES_FROM_START);
	lanes_granted(&l, &plan, 1u << 5);
	for (size_t i = 0; i < PER_LANE && c->ids[i]; i++)
		lanes_row(&l, 5, c->ids[i]);
	if (c->returned)
		lanes_returned(&l, 5);
	lanes_release(&l, 1u << 5, c->committed ? CLAIM_COMMITTED : CLAIM_RETURNED, PER_LANE, OPEN_SKY);
	assert_int_equal(lanes_free_count(&l), LANES);
	// The bound follows one claim behind.
	lanes_plan(&l, -1, &plan);
	lanes_granted(&l, &plan, 1u << 5);
	lanes_release(&l, 1u << 5, CLAIM_COMMITTED, PER_LANE, OPEN_SKY);
	for (int i = 0; i < LANES; i++)
		assert_true(i == 5 || l.lane[i].bound == LANES_FROM_START);
	return l.lane[5].bound;
}

static void the_end_of_a_claim_moves_the_bound(void **state)
{
	static const struct claim cases[] = {
		{ 10, false, { 0 }, true, false, 10 }, // nothing there
		{ 10, false, { 0 }, false, false, 10 },
		{ 10, false, { 11, 14 }, true, false, 14 },
		{ 10, false, { 14, 11 }, true, false, 14 },
		{ 10, false, { 11, 12, 13 }, true, false, 13 },  // full
		{ 10, false, { 11, 12, 13 }, true, true, 10 },   // one stays pending: find it again
		{ 10, false, { 11, 12, 13 }, false, false, 10 }, // rolled back
		{ 10, true, { 0 }, true, false, 10 },            // nothing was hidden
		{ 10, true, { 4 }, true, false, 10 },            // a late committer; all below 10 was seen
		{ 10, true, { 4, 20 }, true, false, 20 },
		{ 10, true, { 4, 5, 6 }, true, false, 6 }, // full: 7, 8, 9 may wait behind, go on from there
		{ 10, true, { 4, 5, 30 }, true, false, 30 },
		{ 10, true, { 4 }, true, true, LANES_FROM_START },
		{ 10, true, { 4 }, false, false, LANES_FROM_START },
		{ LANES_FROM_START, false, { -7, -5 }, true, false, -5 },
		{ 0, false, { INT64_MAX }, true, false, INT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		int64_t after = bound_after(&cases[i]);

		if (after != cases[i].after)
			fail_msg("case %zu: bound %lld", i, (long long)after);
	}
}

// What an earlier claim saw says nothing about one that found nothing.
static void an_empty_claim_leaves_the_bound(void **state)
{
	struct lanes l = fresh();
	struct lane_plan plan;

	(void)state;
	lanes_swept(&l, false, 0, 0);
	lanes_plan(&l, 1, &plan);
	lanes_granted(&l, &plan, 1);
	lanes_row(&l, 0, 50);
	lanes_release(&l, 1, CLAIM_RETURNED, PER_LANE, OPEN_SKY); // rolled back
	for (enum claim_end end = CLAIM_COMMITTED; end <= CLAIM_BROKEN; end++) {
		lanes_plan(&l, 1, &plan);
		lanes_granted(&l, &plan, 1);
		lanes_release(&l, 1, end, PER_LANE, OPEN_SKY);
		assert_int_equal(l.lane[0].bound, LANES_FROM_START);
	}
}

static void a_sweep_takes_a_twentieth_of_the_time(void **state)
{
	static const struct {
		int64_t took_us, pause_us;
	} cases[] = {
		{ 0, LEAST_US },
		{ 1000, LEAST_US },
		{ 100000, 1900000 },
		{ 500000, 19 * SECOND_US / 2 },
		{ SECOND_US, 10 * SECOND_US }, // the next one is shorter
		{ 3600 * SECOND_US, 10 * SECOND_US },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct lanes l = fresh();

		lanes_swept(&l, false, 7000, cases[i].took_us);
		assert_false(lanes_sweep_due(&l, 7000 + cases[i].pause_us - 1));
		assert_true(lanes_sweep_due(&l, 7000 + cases[i].pause_us));
	}
}

// Where nothing can be vacuumed, a sweep of all lanes would keep every event waiting.
static void a_long_sweep_is_of_one_lane_after_another(void **state)
{
	struct lanes l = fresh();
	struct lane_plan sweep, claim;
	uint32_t swept = 0;
	int64_t now_us = 0;

	(void)state;
	lanes_swept(&l, false, now_us, SECOND_US);
	for (int i = 0; i < LANES; i++)
		l.lane[i].bound = 100;
	for (int i = 0; i < LANES; i++) {
		now_us = l.sweep_at_us;
		lanes_plan(&l, now_us, &sweep);
		assert_true(sweep.sweep && sweep.alone);
		assert_int_equal(sweep.count, 1);
		assert_int_equal(sweep.bound[0], LANES_FROM_START);
		assert_int_equal(sweep.round, i == LANES - 1);
		swept |= 1u << sweep.lane[0];
		// Meanwhile claims go on, and another sweep is not due.
		lanes_plan(&l, now_us + SECOND_US, &claim);
		assert_false(claim.sweep || claim.alone);
		assert_int_equal(claim.count, LANES - 1);
		lanes_granted(&l, &claim, 0);
		lanes_granted(&l, &sweep, 0);
		lanes_swept(&l, true, now_us + SECOND_US, SECOND_US / LANES);
	}
	assert_int_equal(swept, ALL);
	// A lane alone says nothing: only after a round of short ones are they of all lanes again.
	for (int i = 0; i < LANES; i++) {
		lanes_plan(&l, l.sweep_at_us, &sweep);
		assert_true(sweep.alone);
		lanes_granted(&l, &sweep, 0);
		lanes_swept(&l, true, l.now_us, 1000);
	}
	lanes_plan(&l, l.sweep_at_us, &sweep);
	assert_true(sweep.sweep && !sweep.alone);
	assert_int_equal(sweep.count, LANES);
}

static void a_lane_that_is_held_has_its_sweep_later(void **state)
{
	struct lanes l = fresh();
	struct lane_plan plan;

	(void)state;
	lanes_swept(&l, false, 0, SECOND_US);
	for (int i = 0; i < LANES; i++)
		l.lane[i].held = i != 7;
	lanes_plan(&l, l.sweep_at_us, &plan);
	assert_true(plan.alone && !plan.round);
	assert_int_equal(plan.count, 1);
	assert_int_equal(plan.lane[0], 7);
	lanes_granted(&l, &plan, 0);
	lanes_swept(&l, true, 0, SECOND_US);
	// It had its sweep: a claim, and none of nobody.
	lanes_plan(&l, l.sweep_at_us, &plan);
	assert_false(plan.sweep);
	assert_int_equal(plan.count, 1);
	// All lanes are held.
	lanes_plan(&l, l.sweep_at_us, &plan);
	assert_false(plan.sweep);
	assert_int_equal(plan.count, 0);
}

static void forgotten_bounds_stay_forgotten(void **state)
{
	struct lanes l = fresh();
	struct lane_plan plan;

	(void)state;
	lanes_swept(&l, false, 0, 0);
	for (int i = 0; i < LANES; i++)
		l.lane[i].bound = 100;
	lanes_plan(&l, 1, &plan);
	lanes_granted(&l, &plan, 1u << 2 | 1u << 3 | 1u << 4);
	lanes_row(&l, 2, 101);
	lanes_forget_bounds(&l); // while claims are open
	lanes_row(&l, 3, 102);
	lanes_release(&l, 1u << 2 | 1u << 3 | 1u << 4, CLAIM_COMMITTED, PER_LANE, OPEN_SKY);
	lanes_plan(&l, 2, &plan);
	assert_false(plan.sweep);
	assert_int_equal(plan.count, LANES);
	for (int i = 0; i < plan.count; i++)
		assert_int_equal(plan.bound[i], LANES_FROM_START);
	// And the claim after that moves them again.
	for (int i = 0; i < 2; i++) {
		lanes_granted(&l, &plan, 1u << 2);
		lanes_row(&l, 2, 55 + i);
		lanes_release(&l, 1u << 2, CLAIM_COMMITTED, PER_LANE, OPEN_SKY);
		lanes_plan(&l, 3 + i, &plan);
	}
	assert_int_equal(l.lane[2].bound, 55);
}

static void claim_one(struct lanes *l, int64_t id, struct horizon h)
{
	struct lane_plan plan;

	lanes_plan(l, -1, &plan);
	lanes_granted(l, &plan, 1);
	if (id)
		lanes_row(l, 0, id);
	lanes_release(l, 1, CLAIM_COMMITTED, PER_LANE, h);
}

// An id below the highest one that was seen may belong to a transaction that is still open.
static void a_bound_waits_for_open_transactions(void **state)
{
	struct lanes l = fresh();

	(void)state;
	claim_one(&l, 50, (struct horizon){ 90, 100, l.epoch }); // 90 to 99 may be open
	assert_int_equal(l.lane[0].bound, LANES_FROM_START);
	claim_one(&l, 60, (struct horizon){ 99, 110, l.epoch }); // 99 still is
	assert_int_equal(l.lane[0].bound, LANES_FROM_START);
	claim_one(&l, 0, (struct horizon){ 0, 0, l.epoch }); // a claim that does not know says nothing
	assert_int_equal(l.lane[0].bound, LANES_FROM_START);
	claim_one(&l, 70, (struct horizon){ 100, 120, l.epoch }); // this one has seen what they left
	assert_int_equal(l.lane[0].bound, 50);
	claim_one(&l, 0, (struct horizon){ 119, 0, l.epoch });
	assert_int_equal(l.lane[0].bound, 50);
	claim_one(&l, 0, (struct horizon){ 120, 0, l.epoch });
	assert_int_equal(l.lane[0].bound, 70);
}

// One claim that finds a row of lane 0, or none. open = whoever is; the writers of its plan are not among the others.
static void claim_beside(struct lanes *l, int64_t now_us, int64_t id, const int64_t *open, int count)
{
	int64_t writer[WRITERS_MAX], other[WRITERS_MAX + 1];
	int writers = 0, others = 0;
	struct lane_plan plan;

	l->sweep_at_us = INT64_MAX;
	lanes_plan(l, now_us, &plan);
	for (int i = 0; i < count; i++) {
		bool is_writer = false;

		for (int n = 0; n < plan.writers; n++)
			is_writer = is_writer || plan.writer[n] == open[i];
		if (is_writer)
			writer[writers++] = open[i];
		else
			other[others++] = open[i];
	}
	lanes_granted(l, &plan, 1);
	lanes_met(l, &plan, writer, writers, other, others);
	if (id)
		lanes_row(l, 0, id);
	lanes_release(l, 1, CLAIM_COMMITTED, PER_LANE,
		      (struct horizon){ others > 0 ? other[0] : 400, 400, plan.epoch });
}

// Nor does it hide anything: what it left is looked for when it has ended.
static void a_writer_that_stays_open_holds_no_bound(void **state)
{
	static const int64_t open[] = { 90, 95, 500 };
	struct lanes l = fresh();
	struct lane_plan plan;
	int64_t now = SECOND_US;

	(void)state;
	l.lane[0].bound = 40;
	claim_beside(&l, 0, 50, open, 3);
	claim_beside(&l, now - 1, 60, open, 3);
	assert_int_equal(l.writers, 0); // not for long yet
	claim_beside(&l, now, 70, open, 3);
	assert_int_equal(l.writers, 2); // 500 keeps nothing where it is
	assert_int_equal(l.lane[0].bound, 40);
	claim_beside(&l, now + 1, 80, open, 3);
	assert_int_equal(l.lane[0].bound, 50);
	claim_beside(&l, now + 2, 90, open, 3);
	assert_int_equal(l.lane[0].bound, 80);
	lanes_plan(&l, now + 3, &plan);
	assert_int_equal(plan.writers, 2);
	for (int i = 0; i < plan.count; i++) {
		assert_int_equal(plan.bound[i], plan.lane[i] == 0 ? 80 : LANES_FROM_START);
		assert_int_equal(plan.low[i], plan.lane[i] == 0 ? 40 : LANES_FROM_START);
	}
	// A claim is open when another one finds that 90 has ended: its end moves nothing.
	lanes_granted(&l, &plan, 0);
	claim_beside(&l, now + 4, 95, open + 1, 2);
	assert_int_equal(l.lane[0].bound, 40);
	assert_int_equal(l.writers, 1);
	assert_int_equal(l.patience_us, 2 * SECOND_US);
	// The next one has looked from there, and 95 is still known.
	claim_beside(&l, now + 5, 97, open + 1, 2);
	assert_int_equal(l.lane[0].bound, 80);
	assert_true(l.lane[0].has_low);
	assert_int_equal(l.lane[0].low, 40);
	// It was open for long, so the next one is met with less patience.
	claim_beside(&l, now + 100 * SECOND_US, 0, open + 2, 1);
	assert_int_equal(l.writers, 0);
	assert_int_equal(l.patience_us, SECOND_US);
	claim_beside(&l, now + 100 * SECOND_US, 0, open + 2, 1);
	assert_int_equal(l.lane[0].bound, 80);
	assert_false(l.lane[0].has_low);
}

static void what_is_asked_late_drops_no_newer_writer(void **state)
{
	static const int64_t none[] = { 0 }, newer[] = { 95 };
	struct lanes l = fresh();
	struct lane_plan plan;

	(void)state;
	l.writer[l.writers++] = 90;
	lanes_plan(&l, 1, &plan);
	l.writer[l.writers++] = 95; // another look found it meanwhile
	lanes_met(&l, &plan, none, 0, newer, 1);
	assert_int_equal(l.writers, 1);
	assert_int_equal(l.writer[0], 95);
}

static void too_many_writers_hold_it(void **state)
{
	int64_t open[WRITERS_MAX + 1];
	struct lanes l = fresh();

	(void)state;
	for (int i = 0; i <= WRITERS_MAX; i++)
		open[i] = 90 + i;
	claim_beside(&l, 0, 50, open, WRITERS_MAX + 1);
	claim_beside(&l, SECOND_US, 0, open, WRITERS_MAX + 1);
	assert_int_equal(l.writers, 0);
	claim_beside(&l, SECOND_US, 0, open, WRITERS_MAX);
	assert_int_equal(l.writers, WRITERS_MAX);
	lanes_forget_bounds(&l);
	assert_int_equal(l.writers, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_reserves_what_is_free),
		cmocka_unit_test(every_lane_comes_first_in_turn),
		cmocka_unit_test(the_end_of_a_claim_moves_the_bound),
		cmocka_unit_test(an_empty_claim_leaves_the_bound),
		cmocka_unit_test(a_sweep_takes_a_twentieth_of_the_time),
		cmocka_unit_test(a_long_sweep_is_of_one_lane_after_another),
		cmocka_unit_test(a_lane_that_is_held_has_its_sweep_later),
		cmocka_unit_test(forgotten_bounds_stay_forgotten),
		cmocka_unit_test(a_bound_waits_for_open_transactions),
		cmocka_unit_test(a_writer_that_stays_open_holds_no_bound),
		cmocka_unit_test(what_is_asked_late_drops_no_newer_writer),
		cmocka_unit_test(too_many_writers_hold_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
