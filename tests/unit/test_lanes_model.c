// SPDX-License-Identifier: MIT
// Random claims by two relays against an obvious model of the table and its transactions.
#include "base/clock.h"
#include "core/lanes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LEAST_US 500000
#define SECOND_US INT64_C(1000000)

// --- A model: two relays, several workers each, one table. ---

#define ROWS 400
#define RELAYS 2
#define WORKERS 3 // of each relay
#define STEPS 3000

struct model_row {
	int lane;
	bool visible; // committed by its application
	int64_t xid;  // of its application's transaction
	bool fresh;   // never claimed, never touched by anybody since its commit
	bool asleep;  // waits for its retry, or its index is paused
	bool done;
	int claimed_by;     // worker; -1 = none
	bool known[RELAYS]; // this relay gave it back and shall find it without a sweep
};

struct model_worker {
	struct lane_plan plan;
	uint32_t taken;
	int64_t per_lane;
	bool broken; // some of its lanes were not read
	struct horizon horizon;
	enum { RESTS, PLANNED, CLAIMED } state;
};

struct world {
	struct rng rng;
	int64_t now_us;
	bool slow;                  // sweeps take long
	struct model_row row[ROWS]; // the id is the position + 1
	int rows;
	bool quiet; // nothing breaks any more
	int64_t next_xid;
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

static bool is_open(const struct world *w, int64_t xid)
{
	for (int n = 0; n < w->rows; n++) {
		if (!w->row[n].visible && w->row[n].xid == xid)
			return true;
	}
	return false;
}

static bool all_open(const struct world *w, const struct lane_plan *plan)
{
	for (int i = 0; i < plan->writers; i++) {
		if (!is_open(w, plan->writer[i]))
			return false;
	}
	return true;
}

// The transactions that are open: writers of the plan, and others. Ids and xids grow together here.
static int open_ones(const struct world *w, const struct lane_plan *plan, bool writers, int64_t *open,
		     int most)
{
	int count = 0;

	for (int n = 0; n < w->rows && count < most; n++) {
		bool is_writer = false;

		for (int i = 0; i < plan->writers; i++)
			is_writer = is_writer || plan->writer[i] == w->row[n].xid;
		if (!w->row[n].visible && is_writer == writers)
			open[count++] = w->row[n].xid;
	}
	return count;
}

static int64_t bound_now(const struct world *w, const struct lane_plan *plan, int i)
{
	return all_open(w, plan) ? plan->bound[i] : plan->low[i];
}

static void plan(struct world *w, int number)
{
	struct model_worker *me = &w->worker[number];
	struct lanes *l = &w->lanes[number / WORKERS];
	uint32_t siblings = 0;

	for (int i = number / WORKERS * WORKERS; i < (number / WORKERS + 1) * WORKERS; i++) {
		struct model_worker *other = &w->worker[i];

		if (other->state == PLANNED && !other->plan.alone)
			return; // one looks at a time
		if (other->state == PLANNED)
			siblings |= 1u << other->plan.lane[0];
		if (other->state == CLAIMED)
			siblings |= other->taken;
	}
	if (lanes_free_count(l) == 0)
		return;
	lanes_plan(l, w->now_us, &me->plan);
	for (int i = 0; i < me->plan.count; i++)
		assert_false(siblings & 1u << me->plan.lane[i]);
	assert_int_equal(me->plan.count, me->plan.alone ? 1 : LANES - __builtin_popcount(siblings));
	// What this relay gave back is not hidden from it, also without a sweep.
	for (int n = 0; n < w->rows; n++) {
		for (int i = 0; i < me->plan.count; i++)
			assert_false(w->row[n].known[number / WORKERS] &&
				     w->row[n].lane == me->plan.lane[i] &&
				     n + 1 <= bound_now(w, &me->plan, i));
	}
	me->state = PLANNED;
	me->taken = 0;
	me->per_lane = rng_between(&w->rng, 1, 4);
}

static void claim_lane(struct world *w, int number, int lane, int64_t bound)
{
	struct model_worker *me = &w->worker[number];
	int64_t left = me->per_lane;

	// The order per key rests on this: what was committed before the claim is not hidden by its bound.
	for (int n = 0; n < bound && n < w->rows; n++)
		assert_false(w->row[n].fresh && w->row[n].lane == lane && w->row[n].visible);
	for (int n = 0; n < w->rows && left > 0; n++) {
		if (!is_claimable(w, n, lane, bound))
			continue;
		w->row[n].claimed_by = number;
		w->row[n].fresh = false;
		for (int i = 0; i < RELAYS; i++)
			w->row[n].known[i] = false;
		lanes_row(&w->lanes[number / WORKERS], lane, n + 1);
		left--;
	}
}

// The snapshot of the lanes, a moment before that of the rows: in between somebody may commit.
static void grant(struct world *w, int number, int64_t most_lanes)
{
	struct model_worker *me = &w->worker[number];
	struct lanes *l = &w->lanes[number / WORKERS];
	int64_t writer[WRITERS_MAX], other[WRITERS_MAX + 1];
	int writers = open_ones(w, &me->plan, true, writer, WRITERS_MAX);
	int others = open_ones(w, &me->plan, false, other, WRITERS_MAX + 1);

	for (int i = 0; i < me->plan.count && most_lanes > 0; i++) {
		int lane = me->plan.lane[i];

		if (w->lane_holder[lane] >= 0 || !has_work(w, lane, bound_now(w, &me->plan, i)))
			continue;
		w->lane_holder[lane] = number;
		me->taken |= 1u << lane;
		most_lanes--;
	}
	lanes_granted(l, &me->plan, me->taken);
	me->horizon = (struct horizon){ others > 0 ? other[0] : w->next_xid, 0, me->plan.epoch };
	lanes_met(l, &me->plan, writer, writers, other, others);
	if (!w->quiet && w->rows > 0 && chance(w, 30))
		w->row[rng_between(&w->rng, 0, w->rows - 1)].visible = true;
	me->horizon.xmax = w->next_xid;
	me->broken = false;
	for (int i = 0; i < me->plan.count; i++) {
		me->broken = me->broken || (!w->quiet && chance(w, 1));
		if (!me->broken && me->taken & 1u << me->plan.lane[i])
			claim_lane(w, number, me->plan.lane[i], bound_now(w, &me->plan, i));
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

	how.committed = how.committed && !me->broken;
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
	lanes_release(l, me->taken,
		      how.committed ? CLAIM_COMMITTED
		      : me->broken  ? CLAIM_BROKEN
				    : CLAIM_RETURNED,
		      me->per_lane, me->horizon);
	if (me->plan.sweep)
		lanes_swept(l, me->plan.alone, w->now_us,
			    w->slow ? SECOND_US : rng_between(&w->rng, 0, 20000));
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
			.xid = w->next_xid++,
			.fresh = true,
			.claimed_by = -1,
		};
	} else if (r->claimed_by < 0) {
		r->fresh = r->fresh && !r->visible;
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

// When all is quiet, one sweep (or one of each lane) and the claims that follow it deliver every row.
static void drain(struct world *w)
{
	int rows = 0, done = 0;

	for (int i = 0; i < RELAYS * WORKERS; i++) {
		while (w->worker[i].state != RESTS)
			work(w, i);
	}
	for (int n = 0; n < w->rows; n++) {
		w->row[n].visible = true;
		w->row[n].asleep = false;
	}
	w->quiet = true;
	for (int sweeps = w->slow ? LANES : 1; sweeps > 0; sweeps--) {
		w->now_us += 601 * SECOND_US;
		assert_true(lanes_sweep_due(&w->lanes[0], w->now_us));
		for (int i = 0, before = -1; i < 2 || done > before; i++) {
			before = done;
			plan(w, 0);
			assert_int_equal(w->worker[0].plan.sweep, i == 0); // the time stands still
			grant(w, 0, LANES);
			end(w, 0, (struct ending){ .committed = true });
			done = rows = 0;
			for (int n = 0; n < w->rows; n++) {
				rows++;
				done += w->row[n].done;
			}
		}
	}
	assert_int_equal(done, rows);
}

static void no_row_is_hidden_for_ever(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct world w = { .slow = seed % 2 == 0 };

		rng_seed(&w.rng, seed);
		for (int i = 0; i < RELAYS; i++)
			lanes_init(&w.lanes[i], LEAST_US);
		for (int i = 0; i < LANES; i++)
			w.lane_holder[i] = -1;
		for (int i = 0; i < STEPS; i++) {
			w.now_us += rng_between(&w.rng, 0, w.slow ? 5 * SECOND_US : 5000);
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_row_is_hidden_for_ever) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
