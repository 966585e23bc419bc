// SPDX-License-Identifier: MIT
// What `outboxd reindex` does in PostgreSQL: the changes of a tracked table become events of a second index as well, until that one
// takes the place of the first. What is written under both names is one document then, and its ids are in the order of its states
// whatever the name, for the row is locked whenever one is drawn.
#ifndef OUTBOXD_PG_REINDEX_H
#define OUTBOXD_PG_REINDEX_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct reindex;

// `alias` = the name into which the table is tracked; NULL = the only one besides `to`. `to` may be NULL. Borrows all texts.
// NULL = failed.
struct reindex *reindex_open(const struct config *config, const char *table, const char *alias,
			     const char *to, struct err *e) must_check;
void reindex_close(struct reindex *r); // NULL is fine
const char *reindex_table(const struct reindex *r);
const char *reindex_alias(const struct reindex *r);
bool reindex_is_tracked(const struct reindex *r); // into the second index as well

// Refuses what cannot be moved: a mapping that looks at the name of the index, another table in one of the indexes, a role that may
// not.
bool reindex_prepare(struct reindex *r, struct err *e) must_check;
// Refuses another table in the second index and, if so asked, in that of the alias.
bool reindex_is_alone(struct reindex *r, bool in_alias, struct err *e) must_check;

// Refuses an index into which a table, this one too, is tracked by that name.
bool reindex_goes_by_alias(struct reindex *r, const char *index, struct err *e) must_check;

// Refuses a second index that is not written as the first one is.
bool reindex_is_alike(struct reindex *r, struct err *e) must_check;
// *ret_done false = somebody is in the way: again, later. So in all that follows.
bool reindex_track(struct reindex *r, bool *ret_done, struct err *e) must_check;
bool reindex_untrack(struct reindex *r, bool *ret_done, struct err *e) must_check;

enum fill { FILL_NONE, FILL_BEGUN, FILL_DONE };
bool reindex_fill(struct reindex *r, enum fill *ret, struct err *e) must_check;
bool reindex_forget(struct reindex *r, bool *ret_done, struct err *e) must_check; // that it was filled

bool reindex_highest(struct reindex *r, int64_t *ret_id, struct err *e) must_check; // drawn so far
// Undelivered events of the second index with ids up to `upto` (0 = all): those that wait, and those that are dead.
bool reindex_left(struct reindex *r, int64_t upto, int64_t *ret_waiting, int64_t *ret_dead,
		  struct err *e) must_check;
// All of both indexes.
bool reindex_undelivered(struct reindex *r, int64_t upto, int64_t *ret, struct err *e) must_check;
// Nothing on its way to the second index is sent any more.
bool reindex_settle(struct reindex *r, bool *ret_done, struct err *e) must_check;

// A transaction in which nobody else can write the table or its children. What is asked above belongs to it, until commit or
// release.
bool reindex_hold(struct reindex *r, bool *ret_done, struct err *e) must_check;
// Within it: the triggers of the second index. They still say that the table is tracked into it.
bool reindex_switch_off(struct reindex *r, struct err *e) must_check;
// Within it, after reindex_prepare: all undelivered events of both indexes give way to new ones of the alias. Looks no longer than to
// until_ms (clock_boot_ms). When it is not done nothing may be held any more.
bool reindex_replace(struct reindex *r, int64_t until_ms, bool *ret_done, struct err *e) must_check;
bool reindex_commit(struct reindex *r, struct err *e) must_check;
void reindex_release(struct reindex *r); // all is as before; harmless when nothing is held

#endif
