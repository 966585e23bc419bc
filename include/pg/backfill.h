// SPDX-License-Identifier: MIT
// `outboxd backfill`: the rows that a table already has become events, in pieces of a short transaction each. A piece locks
// its rows before it reads them, so a change that comes later draws a later id and wins. Where it stands is a row of the
// table `<outbox>_backfill` that moves on with each piece, so a run that is killed loses nothing and repeats nothing.
#ifndef OUTBOXD_PG_BACKFILL_H
#define OUTBOXD_PG_BACKFILL_H

#include "base/config.h"
#include "base/err.h"
#include "pg/source.h"

#include <stdbool.h>
#include <stdint.h>

struct backfill;

// NULL = failed.
struct backfill *backfill_open(const struct config *config, const struct source_spec *s,
			       struct err *e) must_check;
void backfill_close(struct backfill *b); // NULL is fine
const char *backfill_table(const struct backfill *b);
const char *backfill_index(const struct backfill *b); // as an SQL literal

// Rows that are to be in the index, and the bytes of their documents, from a sample.
bool backfill_count(struct backfill *b, int64_t *ret_rows, int64_t *ret_bytes, struct err *e) must_check;
// What the planner thinks; -1 = unknown.
bool backfill_estimate(struct backfill *b, int64_t *ret_rows, struct err *e) must_check;

// Begins, or goes on where an earlier run of the same ended, of which *ret_rows are done.
bool backfill_start(struct backfill *b, bool restart, int64_t *ret_rows, struct err *e) must_check;

struct backfill_piece {
	int64_t rows, events, bytes; // of this piece; the bytes of the documents, about
	int64_t locked;              // rows that were free; the others' turn comes at the end
	bool busy;                   // nothing was done: come again later
	bool done;                   // that was all
};
// One piece of at most `most` rows.
bool backfill_next(struct backfill *b, int64_t most, struct backfill_piece *ret, struct err *e) must_check;
// How many events of this run wait for their first delivery.
bool backfill_ahead(struct backfill *b, int64_t *ret_events, struct err *e) must_check;

enum { FILL_TABLE, FILL_INDEX, FILL_ROWS, FILL_EVENTS, FILL_HELD, FILL_STARTED, FILL_FINISHED };
// All that were begun; the caller frees it with sync_free. NULL without an error = none.
struct pg_result *backfill_list(const struct config *config, struct err *e) must_check;

#endif
