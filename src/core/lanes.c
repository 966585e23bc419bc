// SPDX-License-Identifier: MIT
#include "core/lanes.h"

#include <assert.h>
#include <string.h>

// A sweep may use one part in 20 of the time.
#define SWEEP_PAUSE_FACTOR 19
#define SWEEP_PAUSE_MAX_US (10 * 60 * INT64_C(1000000))
// A sweep of all lanes that takes longer makes each of the next ones one of a lane alone.
#define SWEEP_TOGETHER_US (200 * 1000)
// Each writer that ends has the claims look at all that was passed over because of it: those that end soon are not worth it.
#define PATIENCE_LEAST_US (1000 * 1000)
#define PATIENCE_MOST_US (64 * 1000 * 1000)

void lanes_init(struct lanes *l, int64_t sweep_least_us)
{
	memset(l, 0, sizeof(*l));
	l->sweep_least_us = sweep_least_us;
	l->patience_us = PATIENCE_LEAST_US;
	lanes_forget_bounds(l);
}

int lanes_free_count(const struct lanes *l)
{
	int n = 0;

	for (int i = 0; i < LANES; i++)
		n += !l->lane[i].held;
	return n;
}

bool lanes_sweep_due(const struct lanes *l, int64_t now_us)
{
	return now_us >= l->sweep_at_us;
}

static void reserve(struct lanes *l, int number, struct lane_plan *plan)
{
	struct lane *lane = &l->lane[number];

	lane->held = true;
	lane->rows = 0;
	lane->returned = false;
	lane->from = plan->sweep ? LANES_FROM_START : lane->bound;
	plan->lane[plan->count] = number;
	plan->bound[plan->count] = lane->from;
	plan->low[plan->count] = lane->has_low && lane->low < lane->from ? lane->low : lane->from;
	plan->count++;
}

// The next one that is free: one that a claim holds just then has its turn in the next round.
static void plan_alone(struct lanes *l, int64_t now_us, struct lane_plan *plan)
{
	while (plan->count == 0) {
		int number = l->swept_alone % LANES;

		l->swept_alone++;
		if (!l->lane[number].held)
			reserve(l, number, plan);
	}
	plan->round = l->swept_alone >= LANES;
	l->swept_alone %= LANES;
	l->sweep_at_us = now_us + SWEEP_PAUSE_MAX_US; // until lanes_swept: not two at a time
}

void lanes_plan(struct lanes *l, int64_t now_us, struct lane_plan *ret_plan)
{
	*ret_plan = (struct lane_plan){
		.sweep = lanes_sweep_due(l, now_us),
		.started_us = now_us,
		.writers = l->writers,
		.epoch = l->epoch,
	};
	memcpy(ret_plan->writer, l->writer, sizeof(l->writer));
	l->now_us = now_us;
	ret_plan->alone = ret_plan->sweep && l->alone;
	if (ret_plan->alone) {
		plan_alone(l, now_us, ret_plan);
		return;
	}
	for (int i = 0; i < LANES; i++) {
		int number = (l->first + i) % LANES;

		if (!l->lane[number].held)
			reserve(l, number, ret_plan);
	}
	l->first = (l->first + 5) % LANES; // 5 and 16 have no common factor: every lane comes first in turn
}

bool lanes_plan_is_whole(const struct lane_plan *plan)
{
	for (int i = 0; i < plan->count; i++) {
		if (plan->bound[i] != LANES_FROM_START)
			return false;
	}
	return plan->count == LANES;
}

void lanes_plan_narrow(struct lane_plan *plan, uint32_t lanes)
{
	int n = 0;

	for (int i = 0; i < plan->count; i++) {
		if (!(lanes & (1u << plan->lane[i])))
			continue;
		plan->lane[n] = plan->lane[i];
		plan->low[n] = plan->low[i];
		plan->bound[n++] = plan->bound[i];
	}
	plan->count = n;
}

void lanes_granted(struct lanes *l, const struct lane_plan *plan, uint32_t taken)
{
	for (int i = 0; i < plan->count; i++) {
		if (!(taken & (1u << plan->lane[i])))
			l->lane[plan->lane[i]].held = false;
	}
}

void lanes_row(struct lanes *l, int32_t lane, int64_t id)
{
	assert(lane >= 0 && lane < LANES && l->lane[lane].held);
	if (l->lane[lane].rows == 0 || id > l->lane[lane].highest)
		l->lane[lane].highest = id;
	l->lane[lane].rows++;
}

void lanes_returned(struct lanes *l, int32_t lane)
{
	l->lane[lane].returned = true;
}

static bool is_waiting(const struct lane *lane)
{
	return lane->seen != LANES_FROM_START;
}

// What is below may be of a writer: it is looked at when that one has ended.
static void move_on(struct lanes *l, struct lane *lane)
{
	if (l->writers == 0)
		l->patience_us = PATIENCE_LEAST_US;
	if (l->writers > 0 && !lane->has_low) {
		lane->low = lane->bound;
		lane->has_low = true;
	}
	lane->bound = lane->seen;
}

static void move_bound(struct lanes *l, struct lane *lane, int64_t per_lane, struct horizon h)
{
	bool full = lane->rows > 0 && lane->rows >= per_lane;
	bool settled = is_waiting(lane) && h.xmin > 0 && h.epoch == l->epoch && lane->seen_xmax <= h.xmin;

	if (full && lane->highest < lane->bound) {
		lane->bound = lane->highest; // a full sweep: it goes on from there
		lane->seen = LANES_FROM_START;
		return;
	}
	// This claim has looked at everything up to `seen`.
	if (settled && (!full || lane->highest >= lane->seen)) {
		if (lane->seen > lane->bound)
			move_on(l, lane);
		lane->seen = LANES_FROM_START;
	}
	// Not replaced while it waits, or it would wait for ever where transactions overlap.
	if (lane->rows > 0 && !is_waiting(lane) && lane->highest > lane->bound && h.xmax > 0) {
		lane->seen = lane->highest;
		lane->seen_xmax = h.xmax;
		lane->seen_us = l->now_us;
	}
}

static void release(struct lanes *l, struct lane *lane, enum claim_end end, int64_t per_lane,
		    struct horizon h)
{
	lane->held = false;
	if (lane->rows > 0 && (end != CLAIM_COMMITTED || lane->returned)) {
		lane->bound = lane->from; // they must be found again
		lane->seen = LANES_FROM_START;
	} else if (end != CLAIM_BROKEN) {
		move_bound(l, lane, per_lane, h);
	}
	lane->has_low = lane->has_low && lane->low < lane->bound;
}

void lanes_release(struct lanes *l, uint32_t taken, enum claim_end end, int64_t per_lane,
		   struct horizon horizon)
{
	for (int i = 0; i < LANES; i++) {
		if (taken & (1u << i))
			release(l, &l->lane[i], end, per_lane, horizon);
	}
}

static void forget_writers(struct lanes *l)
{
	l->writers = 0;
	l->epoch++;
}

// Some writer has ended: what it left is looked for, and the end of an open claim must not move a bound over it.
static void go_back(struct lanes *l)
{
	for (int i = 0; i < LANES; i++) {
		struct lane *lane = &l->lane[i];

		if (!lane->has_low)
			continue;
		lane->bound = lane->low;
		if (lane->from > lane->low)
			lane->from = lane->low;
		lane->seen = LANES_FROM_START;
		lane->has_low = false;
	}
	l->patience_us = 2 * l->patience_us < PATIENCE_MOST_US ? 2 * l->patience_us : PATIENCE_MOST_US;
	forget_writers(l);
}

// The transactions before this one keep some bound where it is for too long. INT64_MIN = none do.
static int64_t blocked_until(const struct lanes *l)
{
	int64_t until = INT64_MIN;

	for (int i = 0; i < LANES; i++) {
		const struct lane *lane = &l->lane[i];

		if (is_waiting(lane) && l->now_us - lane->seen_us >= l->patience_us &&
		    lane->seen_xmax > until)
			until = lane->seen_xmax;
	}
	return until;
}

void lanes_met(struct lanes *l, const struct lane_plan *plan, bool all_open, const int64_t *open,
	       int open_count)
{
	int64_t until = blocked_until(l);
	int more = 0;

	if (!all_open && l->writers > 0)
		go_back(l);
	if (!all_open || plan->epoch != l->epoch)
		return;
	while (more < open_count && open[more] < until)
		more++;
	if (more == 0 || l->writers + more > WRITERS_MAX)
		return;
	memcpy(&l->writer[l->writers], open, (size_t)more * sizeof(*open));
	l->writers += more;
	l->epoch++;
}

void lanes_swept(struct lanes *l, bool alone, int64_t now_us, int64_t took_us)
{
	int64_t pause = took_us * SWEEP_PAUSE_FACTOR;

	if (pause > SWEEP_PAUSE_MAX_US)
		pause = SWEEP_PAUSE_MAX_US;
	if (pause < l->sweep_least_us)
		pause = l->sweep_least_us;
	l->sweep_at_us = now_us + pause;
	l->alone = took_us > (alone ? SWEEP_TOGETHER_US / LANES : SWEEP_TOGETHER_US);
}

void lanes_forget_bounds(struct lanes *l)
{
	for (int i = 0; i < LANES; i++) {
		l->lane[i].bound = l->lane[i].from = l->lane[i].seen = LANES_FROM_START;
		l->lane[i].returned = true; // or the end of an open claim would set the bound again
		l->lane[i].has_low = false;
	}
	forget_writers(l);
}
