// SPDX-License-Identifier: MIT
// Lanes give order per key: a key hashes to one of 16 lanes, and a claim's transaction holds the advisory lock of
// every lane it takes rows from. This is one relay's memory of its lanes: which ones its own workers hold, and
// from which id on a claim should look (a lower bound, so that a claim does not walk index entries of rows that
// are done but not yet vacuumed).
//
// A bound must not hide an event while a younger one of its key is sent. Ids are drawn before commit, so an id below
// the highest one that a claim saw may still become visible. Therefore a bound follows one claim behind: it moves up to
// what an earlier claim saw only when every transaction that was open at that claim's snapshot had ended before the
// present claim's (struct horizon), which then has looked below and found what they left. Those that stay open for long would keep
// all bounds where they are, and claims would walk over ever more rows: they are known by number (writer). A bound moves on over what
// only they can have left, and the claim itself sees whether they are still open; if not, it begins where the bound was
// when they came to be known (low).
// What else comes back below a bound (retries, requeued rows) is found by a sweep from the start, at a bounded share of the time. Where
// a sweep takes long, since nothing can be vacuumed, it is of one lane after another, and the others' claims go on meanwhile.
#ifndef OUTBOXD_CORE_LANES_H
#define OUTBOXD_CORE_LANES_H

#include <stdbool.h>
#include <stdint.h>

#define LANES 16 // a contract between all relays of a table: it is part of the index expression
#define LANES_FROM_START INT64_MIN // a bound below every id: an id may be negative
#define WRITERS_MAX 8              // more that stay open for long keep the bounds where they are

struct lane {
	int64_t bound; // rows at or below are not looked for, except by a sweep
	int64_t seen; // the bound's next place, LANES_FROM_START = none: the highest id of an earlier claim ...
	int64_t seen_xmax; // ... and above every transaction that had begun to write at its snapshot
	int64_t seen_us;   // when that was, about
	int64_t low;       // where to look from once a writer has ended, valid when has_low
	int64_t from;      // the bound that the open claim started from
	int64_t highest;   // greatest id of the open claim, valid when rows > 0
	int64_t rows;      // rows of the open claim
	bool held;         // by a worker of this process
	bool returned;     // the open claim gives rows back
	bool has_low;
};

struct lanes {
	struct lane lane[LANES];
	int64_t writer[WRITERS_MAX]; // transactions that are open for long
	int writers;
	int epoch;           // another one begins when a writer has ended
	int64_t known_us;    // since when there are any
	int64_t patience_us; // after so long a transaction counts as one; longer where they end soon
	int64_t now_us;      // of the last plan
	int first;           // rotates, so that no lane is always served last
	int64_t sweep_at_us; // a sweep is affordable from then on
	int64_t sweep_least_us;
	bool alone;       // a sweep of all lanes at once would hold them for too long: it is of one
	uint32_t swept;   // the lanes, a bit each, that had theirs in this round of such sweeps
	int64_t round_us; // what they took together
};

// What one claim may take; filled by lanes_plan.
struct lane_plan {
	int count; // candidates
	int32_t lane[LANES];
	int64_t bound[LANES];
	int64_t low[LANES]; // in place of it, unless all writers are open at the claim's own snapshot
	int64_t writer[WRITERS_MAX];
	int writers, epoch;
	bool sweep;
	bool alone; // of one lane: it says nothing of the rest, and must not keep others from looking
	bool round; // with it, every lane had its sweep alone
	int64_t started_us;
};

void lanes_init(struct lanes *l, int64_t sweep_least_us);
int lanes_free_count(const struct lanes *l);
// Reserves every lane that no worker of this process holds, as candidates for one claim; one of them for a sweep alone. now in
// microseconds.
void lanes_plan(struct lanes *l, int64_t now_us, struct lane_plan *ret_plan);
// All lanes, each from its start: what such a claim does not find is not there, or somebody has it locked.
bool lanes_plan_is_whole(const struct lane_plan *plan);
// Leaves only the lanes of the bits in the plan.
void lanes_plan_narrow(struct lane_plan *plan, uint32_t lanes);
bool lanes_sweep_due(const struct lanes *l, int64_t now_us);
// The database granted `taken` (a bit per lane): the other candidates of the plan are free again.
void lanes_granted(struct lanes *l, const struct lane_plan *plan, uint32_t taken);
void lanes_row(struct lanes *l, int32_t lane, int64_t id); // a row of the open claim
void lanes_returned(struct lanes *l, int32_t lane);        // some row of the open claim stays pending
// Before the claim's snapshot: which writers of the plan are still open? And which others are, the oldest ones first?
void lanes_met(struct lanes *l, const struct lane_plan *plan, const int64_t *writer, int writers,
	       const int64_t *other, int others);
// Transaction ids around a claim: those below xmin, and no writers, had ended before its snapshot (a little earlier is fine), those
// from xmax on had not begun to write at it. 0 = not known.
struct horizon {
	int64_t xmin, xmax;
	int epoch; // of the plan
};
// How the claim's transaction ended. Each but the first returns every row.
enum claim_end {
	CLAIM_COMMITTED,
	CLAIM_RETURNED, // rolled back, after all rows of its lanes had come
	CLAIM_BROKEN,   // it failed on the way: of a lane without rows it says nothing
};
// per_lane = the claim's LIMIT per lane.
void lanes_release(struct lanes *l, uint32_t taken, enum claim_end end, int64_t per_lane,
		   struct horizon horizon);
// How long a sweep took to look from the start: the next one is due after 19 times that (5% of the time),
// or half a minute at most, however long a lane takes: others are claimed meanwhile. alone: as planned.
void lanes_swept(struct lanes *l, bool alone, int64_t now_us, int64_t took_us);
void lanes_forget_bounds(struct lanes *l); // the next claim looks from the start

#endif
