// SPDX-License-Identifier: MIT
// What an operator does with dead and with delivered rows. Large numbers go in chunks, each a short transaction of its own:
// whatever interrupts them, what is done is done and the rest is as it was.
#ifndef OUTBOXD_PG_MEND_H
#define OUTBOXD_PG_MEND_H

#include "base/err.h"
#include "pg/desk.h"

#include <stdbool.h>
#include <stdint.h>

#define MEND_CHUNK_ROWS 5000
#define MEND_SETTLE_ROWS 50000

// Which dead rows: all that fit every condition. NULL = any.
struct selection {
	const char *ids; // "12,15"
	const char *type;
	const char *index;
	const char *key; // the document's id
};

struct mend;

// Borrows d and the selection's texts. NULL = the ids are no ids (ERR_USAGE).
struct mend *mend_new(struct desk *d, const struct selection *s, struct err *e) must_check;
void mend_free(struct mend *m); // NULL is fine

// Results are freed with sync_free.
struct pg_result *mend_list(struct mend *m, int64_t limit, struct err *e) must_check;
struct pg_result *mend_one(struct mend *m, struct err *e) must_check; // see dead_one.sql; one row or none
struct pg_result *mend_document(struct mend *m, struct err *e) must_check; // one row or none, one text

// What a requeue of the selected rows means. moved: a newer event of the document was delivered, so they are settled instead.
struct requeue_plan {
	int64_t dead, moved;
};
bool mend_plan(struct mend *m, struct requeue_plan *ret, struct err *e) must_check;
// Settles those that have moved, as far as the last mend_plan listed them (the first MEND_SETTLE_ROWS).
bool mend_settle(struct mend *m, int64_t *ret_rows, struct err *e) must_check;

enum mend_verb { MEND_REQUEUE, MEND_DELETE };

// The next few thousand of the selected rows that were given up older_ms ago or longer (0 = all): pending again, with their
// attempts forgotten, or gone. *ret_more: call again.
bool mend_next(struct mend *m, enum mend_verb verb, int64_t older_ms, int64_t *ret_rows, bool *ret_more,
	       struct err *e) must_check;

// Deletes delivered rows that are old enough, among the next few thousand after id *above, which moves on.
bool mend_purge(struct desk *d, int64_t older_ms, int64_t *above, int64_t *ret_rows, bool *ret_more,
		struct err *e) must_check;
// How many delivered, or dead, rows are older.
bool mend_count(struct desk *d, int64_t older_ms, bool dead, int64_t *ret_rows, struct err *e) must_check;

#endif
