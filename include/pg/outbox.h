// SPDX-License-Identifier: MIT
// What a relay does with its table: each function sends one script of sql/queries over a connection.
#ifndef OUTBOXD_PG_OUTBOX_H
#define OUTBOXD_PG_OUTBOX_H

#include "base/clock.h"
#include "base/config.h"
#include "base/err.h"
#include "core/batch.h"
#include "core/lanes.h"
#include "core/row.h"
#include "pg/conn.h"

#include <stdbool.h>
#include <stdint.h>

struct outbox;

// The oldest server that has all that sql/ uses: pg_current_snapshot() and its kin came with 13.
#define POSTGRES_OLDEST 130000

struct outbox *outbox_new(const struct config *config, struct err *e) must_check;
void outbox_free(struct outbox *o); // NULL is fine

// What inspection found; valid after outbox_read_inspection.
struct inspection {
	bool table_exists;
	bool columns_complete;
	bool lane_index_valid;
	bool notify_trigger;
	bool read_only;
	bool row_security; // policies may hide rows from this role
	bool usable;       // as it is made: see shape.sql
	char shape[160];   // what it is instead
	bool partitioned;
	bool rotates;           // this role may make and drop partitions
	int64_t server_version; // 150003
	int64_t backend_pid;    // of this session
	int64_t sequence;       // OID of the ids' sequence, 0 = none, or none that the versions come from
	int64_t highest_id;     // only with with_highest
};
#define INSPECT_STEP_TABLE 0
#define INSPECT_STEP_HIGHEST 1
void outbox_inspect(struct outbox *o, struct conn *c, bool with_highest);
void outbox_read_inspection(struct outbox *o, int step, const struct pg_result *res, int row,
			    struct inspection *ret);

// Claim: BEGIN, settings, lanes, savepoint, rows. The transaction stays open. Row callbacks come for CLAIM_STEP_LANES (one row:
// outbox_read_lanes) and, streamed, for CLAIM_STEP_ROWS (outbox_read_row).
struct claim {
	const struct lane_plan *plan;
	int64_t lanes_wanted; // at most so many of the plan's lanes
	bool crowded;         // others hold lanes: held.sql
	bool at_rest;        // no backlog: plans of before will do. Each claim of a backlog is planned for it
	int64_t rows_wanted; // at most so many
	int64_t highest;     // no row above this id
	const char *const *paused; // index names that get nothing for now
	int paused_count;
	int64_t sequence;    // see inspection
	int64_t patience_ms; // the server ends the session after so long a silence or statement
};
#define CLAIM_STEP_LANES 2
#define CLAIM_STEP_ROWS 4
void outbox_claim(struct outbox *o, struct conn *c, const struct claim *claim);
struct lanes_taken {
	uint32_t lanes;   // a bit each
	int64_t drawn;    // the highest id that the table ever drew, 0 = not known
	int64_t xmin;     // see struct horizon
	int64_t per_lane; // who gave so many rows may have more
	bool crowded;     // others hold some of those that were tried, or known to be held
	// See lanes_met.
	int64_t writer[WRITERS_MAX], other[WRITERS_MAX + 1];
	int writers, others;
};
void outbox_read_lanes(const struct pg_result *res, int row, struct lanes_taken *ret);
void outbox_read_row(const struct outbox *o, const struct pg_result *res, int row, struct row *ret_row,
		     bool *ret_parked, int64_t *ret_xmax);

// The steps of a settlement; -1 = it has none such. Those that mark are the delivered and superseded rows, less what the others
// made wait instead.
struct settlement {
	int conflicts; // superseded ones whose version turned out to be no event of the document
	int hold;      // has one row: outbox_read_held
	int mark;
};
// Writes the fates of a resolved batch and commits. parked: the claim saw refused rows, so accepted keys settle
// their older ones.
void outbox_settle(struct outbox *o, struct conn *c, const struct batch *b, bool parked, struct rng *rng,
		   struct settlement *ret);
// Delivered rows that wait, since somebody holds an older refused event of their document.
int64_t outbox_read_held(const struct pg_result *res, int row);
// Is the script's result that of a transaction that really committed?
bool outbox_committed(const struct script_result *result);
void outbox_rollback(struct outbox *o, struct conn *c);
// After a claim that failed on some row's data: finds such rows in the plan's lanes and makes them dead. One row of
// SIEVE_STEP_COUNT says how many.
#define SIEVE_STEP_COUNT 5
void outbox_sieve(struct outbox *o, struct conn *c, const struct claim *claim);
// Sends a notification to whoever listens, this relay among them.
void outbox_wake(struct outbox *o, struct conn *c);
// One row, one bool: are there undelivered rows up to `highest`?
void outbox_left(struct outbox *o, struct conn *c, int64_t highest);
void outbox_listen(struct outbox *o, struct conn *c);
// Looks at `limit` rows above `above` and deletes those delivered longer than keep_ms ago, in a transaction of its own
// that waits for no lock for long. One row of PURGE_STEP_ROWS: outbox_read_purge. below: only in a partitioned table.
#define PURGE_FROM_START INT64_MIN
struct purge {
	int64_t deleted;
	int64_t last; // the last id looked at; valid unless at_end
	bool at_end;  // of the table
	bool young;   // a delivered row was too young: nothing further on can be old
};
#define PURGE_STEP_ROWS 2
void outbox_purge(struct outbox *o, struct conn *c, int64_t keep_ms, int64_t above, int64_t below,
		  int64_t limit);
void outbox_read_purge(const struct pg_result *res, int row, struct purge *ret);
// Drops a partition whose rows were delivered longer than keep_ms ago; -1 = makes partitions ahead instead. One row of
// PURGE_STEP_ROWS: outbox_read_rotation.
struct rotation {
	int64_t created, dropped;
	bool busy;     // a lock was not had: there is more to do
	int64_t below; // what is below is purged by deleting; only of one that dropped nothing
};
void outbox_rotate(struct outbox *o, struct conn *c, int64_t keep_ms);
void outbox_read_rotation(const struct pg_result *res, int row, struct rotation *ret);

#endif
