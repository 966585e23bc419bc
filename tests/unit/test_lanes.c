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
	lanes_release(&l, 1u << 3 | 1u << 15, true, PER_LANE);
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
		assert_int_equal(plan.bound[i], plan.lane[i] == 5 && !c->sweep ? c->bound : 0);
	lanes_granted(&l, &plan, 1u << 5);
	for (size_t i = 0; i < PER_LANE && c->ids[i]; i++)
		lanes_row(&l, 5, c->ids[i]);
	if (c->returned)
		lanes_returned(&l, 5);
	lanes_release(&l, 1u << 5, c->committed, PER_LANE);
	assert_int_equal(lanes_free_count(&l), LANES);
	for (int i = 0; i < LANES; i++)
		assert_true(i == 5 || l.lane[i].bound == 0);
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
		{ 10, true, { 4 }, true, true, 0 },
		{ 10, true, { 4 }, false, false, 0 },
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
	lanes_swept(&l, 0, 0);
	lanes_plan(&l, 1, &plan);
	lanes_granted(&l, &plan, 1);
	lanes_row(&l, 0, 50);
	lanes_release(&l, 1, false, PER_LANE); // rolled back
	for (int committed = 0; committed <= 1; committed++) {
		lanes_plan(&l, 1, &plan);
		lanes_granted(&l, &plan, 1);
		lanes_release(&l, 1, committed, PER_LANE);
		assert_int_equal(l.lane[0].bound, 0);
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
		{ SECOND_US, 10 * SECOND_US }, // a hidden row waits no longer than that
		{ 3600 * SECOND_US, 10 * SECOND_US },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct lanes l = fresh();

		lanes_swept(&l, 7000, cases[i].took_us);
		assert_false(lanes_sweep_due(&l, 7000 + cases[i].pause_us - 1));
		assert_true(lanes_sweep_due(&l, 7000 + cases[i].pause_us));
	}
}

static void forgotten_bounds_stay_forgotten(void **state)
{
	struct lanes l = fresh();
	struct lane_plan plan;

	(void)state;
	lanes_swept(&l, 0, 0);
	for (int i = 0; i < LANES; i++)
		l.lane[i].bound = 100;
	lanes_plan(&l, 1, &plan);
	lanes_granted(&l, &plan, 1u << 2 | 1u << 3 | 1u << 4);
	lanes_row(&l, 2, 101);
	lanes_forget_bounds(&l); // while claims are open
	lanes_row(&l, 3, 102);
	lanes_release(&l, 1u << 2 | 1u << 3 | 1u << 4, true, PER_LANE);
	lanes_plan(&l, 2, &plan);
	assert_false(plan.sweep);
	assert_int_equal(plan.count, LANES);
	for (int i = 0; i < plan.count; i++)
		assert_int_equal(plan.bound[i], 0);
	// And the claim after that moves them again.
	lanes_granted(&l, &plan, 1u << 2);
	lanes_row(&l, 2, 55);
	lanes_release(&l, 1u << 2, true, PER_LANE);
	assert_int_equal(l.lane[2].bound, 55);
}

// --- A model: two relays, several workers each, one table. ---

#define ROWS 400
#define RELAYS 2
#define WORKERS 3 // of each relay
#define STEPS 3000

struct model_row {
	int lane;
	bool visible; // committed by its application
	bool asleep;  // waits for its retry, or its index is paused
	bool done;
	int claimed_by;     // worker; -1 = none
	bool known[RELAYS]; // this relay gave it back and shall find it without a sweep
};

struct model_worker {
	struct lane_plan plan;
	uint32_t taken;
	int64_t per_lane;
	enum { RESTS, PLANNED, CLAIMED } state;
};

struct world {
	struct rng rng;
	int64_t now_us;
	struct model_row row[ROWS]; // the id is the position + 1
	int rows;
	int lane_holder[LANES]; // the advisory locks; -1 = free
	struct lanes lanes[RELAYS];
	struct model_worker worker[RELAYS * WORKERS];
};

static bool chance(struct world *w, int percent)
{
	return rng_between(&w->rng, 1, 100) <= percent;
}

static bool is_claimable(const struct world *w, int n, int lane, int64_t bound)
{
	const struct model_row *r = &w->row[n];

	return r->lane == lane && r->visible && !r->asleep && !r->done && r->claimed_by < 0 && n + 1 > bound;
}

static bool has_work(const struct world *w, int lane, int64_t bound)
{
	for (int n = 0; n < w->rows; n++) {
		if (is_claimable(w, n, lane, bound))
			return true;
	}
	return false;
}

static void plan(struct world *w, int number)
{
	struct model_worker *me = &w->worker[number];
	struct lanes *l = &w->lanes[number / WORKERS];
	uint32_t siblings = 0;

	for (int i = number / WORKERS * WORKERS; i < (number / WORKERS + 1) * WORKERS; i++) {
		if (w->worker[i].state == PLANNED)
			return; // one looks at a time
		if (w->worker[i].state == CLAIMED)
			siblings |= w->worker[i].taken;
	}
	lanes_plan(l, w->now_us, &me->plan);
	for (int i = 0; i < me->plan.count; i++)
		assert_false(siblings & 1u << me->plan.lane[i]);
	assert_int_equal(me->plan.count, LANES - __builtin_popcount(siblings));
	// What this relay gave back is not hidden from it, also without a sweep.
	for (int n = 0; n < w->rows; n++) {
		for (int i = 0; i < me->plan.count; i++)
			assert_false(w->row[n].known[number / WORKERS] &&
				     w->row[n].lane == me->plan.lane[i] && n + 1 <= me->plan.bound[i]);
	}
	me->state = PLANNED;
	me->taken = 0;
	me->per_lane = rng_between(&w->rng, 1, 4);
}

static void claim_lane(struct world *w, int number, int lane, int64_t bound)
{
	struct model_worker *me = &w->worker[number];
	int64_t left = me->per_lane;

	for (int n = 0; n < w->rows && left > 0; n++) {
		if (!is_claimable(w, n, lane, bound))
			continue;
		w->row[n].claimed_by = number;
		for (int i = 0; i < RELAYS; i++)
			w->row[n].known[i] = false;
		lanes_row(&w->lanes[number / WORKERS], lane, n + 1);
		left--;
	}
}

static void grant(struct world *w, int number, int64_t most_lanes)
{
	struct model_worker *me = &w->worker[number];

	for (int i = 0; i < me->plan.count && most_lanes > 0; i++) {
		int lane = me->plan.lane[i];

		if (w->lane_holder[lane] >= 0 || !has_work(w, lane, me->plan.bound[i]))
			continue;
		w->lane_holder[lane] = number;
		me->taken |= 1u << lane;
		most_lanes--;
	}
	lanes_granted(&w->lanes[number / WORKERS], &me->plan, me->taken);
	for (int i = 0; i < me->plan.count; i++) {
		if (me->taken & 1u << me->plan.lane[i])
			claim_lane(w, number, me->plan.lane[i], me->plan.bound[i]);
	}
	me->state = CLAIMED;
}

// Percentages of what becomes of a row; the rest is done.
struct ending {
	bool committed;
	int returned, parked;
};

static void end(struct world *w, int number, struct ending how)
{
	struct model_worker *me = &w->worker[number];
	struct lanes *l = &w->lanes[number / WORKERS];

	for (int n = 0; n < w->rows; n++) {
		struct model_row *r = &w->row[n];

		if (r->claimed_by != number)
			continue;
		r->claimed_by = -1;
		if (!how.committed || chance(w, how.returned)) {
			r->known[number / WORKERS] = true;
			if (how.committed)
				lanes_returned(l, r->lane);
		} else if (chance(w, how.parked)) {
			r->asleep = true;
		} else {
			r->done = true;
		}
	}
	for (int i = 0; i < LANES; i++) {
		if (w->lane_holder[i] == number)
			w->lane_holder[i] = -1;
	}
	lanes_release(l, me->taken, how.committed, me->per_lane);
	if (me->plan.sweep)
		lanes_swept(l, w->now_us, rng_between(&w->rng, 0, 20000));
	me->state = RESTS;
}

static void work(struct world *w, int number)
{
	struct model_worker *me = &w->worker[number];

	if (me->state == RESTS)
		plan(w, number);
	else if (me->state == PLANNED)
		grant(w, number, rng_between(&w->rng, 1, LANES));
	else
		end(w, number, (struct ending){ chance(w, 80), chance(w, 30) ? 30 : 0, 10 });
}

// Somebody else changes a row.
static void disturb(struct world *w)
{
	struct model_row *r = &w->row[w->rows ? rng_between(&w->rng, 0, w->rows - 1) : 0];

	if (w->rows < ROWS && chance(w, 40)) {
		w->row[w->rows++] = (struct model_row){
			.lane = (int)rng_between(&w->rng, 0, LANES - 1) / 4, // few lanes: long queues
			.visible = chance(w, 70),
			.claimed_by = -1,
		};
	} else if (r->claimed_by < 0) {
		if (!r->visible) {
			r->visible = true; // commits late
		} else if (r->asleep) {
			r->asleep = false;
		} else if (chance(w, 20)) {
			r->done = false; // requeued
		} else if (chance(w, 20)) {
			r->asleep = true;
			r->known[0] = r->known[1] = false;
		}
	}
}

// When all is quiet, one sweep and the claims that follow it deliver every row.
static void drain(struct world *w)
{
	int rows = 0, done = 0, empty = 0;

	for (int i = 0; i < RELAYS * WORKERS; i++) {
		while (w->worker[i].state != RESTS)
			work(w, i);
	}
	for (int n = 0; n < w->rows; n++) {
		w->row[n].visible = true;
		w->row[n].asleep = false;
	}
	w->now_us += 61 * SECOND_US;
	assert_true(lanes_sweep_due(&w->lanes[0], w->now_us));
	for (int i = 0; empty == 0; i++) {
		int before = done;

		plan(w, 0);
		assert_int_equal(w->worker[0].plan.sweep, i == 0); // the time stands still
		grant(w, 0, LANES);
		end(w, 0, (struct ending){ .committed = true });
		done = rows = 0;
		for (int n = 0; n < w->rows; n++) {
			rows++;
			done += w->row[n].done;
		}
		empty = done == before && i > 0;
	}
	assert_int_equal(done, rows);
}

static void no_row_is_hidden_for_ever(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct world w = { .rows = 0 };

		rng_seed(&w.rng, seed);
		for (int i = 0; i < RELAYS; i++)
			lanes_init(&w.lanes[i], LEAST_US);
		for (int i = 0; i < LANES; i++)
			w.lane_holder[i] = -1;
		for (int i = 0; i < STEPS; i++) {
			w.now_us += rng_between(&w.rng, 0, 5000);
			if (chance(&w, 40))
				disturb(&w);
			else
				work(&w, (int)rng_between(&w.rng, 0, RELAYS * WORKERS - 1));
		}
		drain(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_reserves_what_is_free),
		cmocka_unit_test(every_lane_comes_first_in_turn),
		cmocka_unit_test(the_end_of_a_claim_moves_the_bound),
		cmocka_unit_test(an_empty_claim_leaves_the_bound),
		cmocka_unit_test(a_sweep_takes_a_twentieth_of_the_time),
		cmocka_unit_test(forgotten_bounds_stay_forgotten),
		cmocka_unit_test(no_row_is_hidden_for_ever),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
