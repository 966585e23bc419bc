// SPDX-License-Identifier: MIT
#include "core/lanes.h"

#include <assert.h>
#include <string.h>

// A sweep may use one part in 20 of the time.
#define SWEEP_PAUSE_FACTOR 19
#define ALL_LANES ((1u << LANES) - 1)
// After one of all lanes the next is shorter, alone, or it only met a machine that stood still.
#define SWEEP_PAUSE_MAX_US (10 * 1000 * 1000)
#define ALONE_PAUSE_MAX_US (30 * 1000 * 1000)
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

// The first free lane that had no sweep in this round; -1 = claims hold those that are left.
static int next_alone(const struct lanes *l)
{
	for (int i = 0; i < LANES; i++) {
		if (!l->lane[i].held && !(l->swept & 1u << i))
			return i;
	}
	return -1;
}

static void plan_alone(struct lanes *l, int number, int64_t now_us, struct lane_plan *plan)
{
	reserve(l, number, plan);
	l->swept |= 1u << number;
	plan->round = l->swept == ALL_LANES;
	l->sweep_at_us = now_us + ALONE_PAUSE_MAX_US; // until lanes_swept: not two at a time
}

void lanes_plan(struct lanes *l, int64_t now_us, struct lane_plan *ret_plan)
{
	bool due = lanes_sweep_due(l, now_us);
	int alone = due && l->alone ? next_alone(l) : -1;

	*ret_plan = (struct lane_plan){
		.sweep = due && (!l->alone || alone >= 0),
		.alone = alone >= 0,
		.started_us = now_us,
		.writers = l->writers,
		.epoch = l->epoch,
	};
	memcpy(ret_plan->writer, l->writer, sizeof(l->writer));
	l->now_us = now_us;
	if (ret_plan->alone) {
		plan_alone(l, alone, now_us, ret_plan);
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

static bool is_among(int64_t xid, const int64_t *list, int count)
{
	for (int i = 0; i < count; i++) {
		if (list[i] == xid)
			return true;
	}
	return false;
}

// Those of the plan that are not open any more; another look may have added some meanwhile.
static void drop_ended(struct lanes *l, const struct lane_plan *plan, const int64_t *open, int count)
{
	int kept = 0;

	for (int i = 0; i < l->writers; i++) {
		bool asked = is_among(l->writer[i], plan->writer, plan->writers);

		if (!asked || is_among(l->writer[i], open, count))
			l->writer[kept++] = l->writer[i];
	}
	l->writers = kept;
}

// A writer has ended. What it left is looked for: one claim from where the bound was, and it is back again, over what the writers
// that are still open can have left. The end of a claim that is open now must not move it before that (epoch).
static void go_back(struct lanes *l)
{
	bool soon = l->now_us - l->known_us < 8 * l->patience_us;

	for (int i = 0; i < LANES; i++) {
		struct lane *lane = &l->lane[i];

		if (!lane->has_low)
			continue;
		lane->seen = lane->bound;
		lane->seen_xmax = 0;
		lane->seen_us = l->now_us;
		lane->bound = lane->low;
		if (lane->from > lane->low)
			lane->from = lane->low;
		lane->has_low = false;
	}
	l->epoch++;
	l->known_us = l->now_us;
	l->patience_us = soon ? 2 * l->patience_us : l->patience_us / 2;
	if (l->patience_us < PATIENCE_LEAST_US)
		l->patience_us = PATIENCE_LEAST_US;
	if (l->patience_us > PATIENCE_MOST_US)
		l->patience_us = PATIENCE_MOST_US;
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

void lanes_met(struct lanes *l, const struct lane_plan *plan, const int64_t *writer, int writers,
	       const int64_t *other, int others)
{
	int64_t until = blocked_until(l);
	int blocking = 0;

	if (plan->epoch != l->epoch)
		return; // it asked for writers of before
	if (writers < plan->writers) {
		drop_ended(l, plan, writer, writers);
		go_back(l);
		return;
	}
	while (blocking < others && other[blocking] < until)
		blocking++;
	if (l->writers + blocking > WRITERS_MAX)
		return;
	if (l->writers == 0)
		l->known_us = l->now_us;
	// That there are more of them makes no claim under way wrong: it goes by fewer, and is only stricter.
	for (int i = 0; i < blocking; i++) {
		if (!is_among(other[i], l->writer, l->writers))
			l->writer[l->writers++] = other[i];
	}
}

void lanes_swept(struct lanes *l, bool alone, int64_t now_us, int64_t took_us)
{
	int64_t pause = took_us * SWEEP_PAUSE_FACTOR, most = alone ? ALONE_PAUSE_MAX_US : SWEEP_PAUSE_MAX_US;

	if (pause > most)
		pause = most;
	if (pause < l->sweep_least_us)
		pause = l->sweep_least_us;
	l->sweep_at_us = now_us + pause;
	if (!alone) {
		l->alone = took_us > SWEEP_TOGETHER_US;
		l->swept = 0;
		l->round_us = 0;
		return;
	}
	l->round_us += took_us;
	if (l->swept != ALL_LANES)
		return;
	l->alone = l->round_us > SWEEP_TOGETHER_US;
	l->swept = 0;
	l->round_us = 0;
}

void lanes_forget_bounds(struct lanes *l)
{
	for (int i = 0; i < LANES; i++) {
		l->lane[i].bound = l->lane[i].from = l->lane[i].seen = LANES_FROM_START;
		l->lane[i].returned = true; // or the end of an open claim would set the bound again
		l->lane[i].has_low = false;
	}
	l->writers = 0;
	l->epoch++;
}
