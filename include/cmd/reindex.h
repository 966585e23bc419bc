// SPDX-License-Identifier: MIT
// `outboxd reindex` in four parts: the steps, the swap at their end, the ways back, and what all of them ask and change in
// Elasticsearch.
#ifndef OUTBOXD_CMD_REINDEX_H
#define OUTBOXD_CMD_REINDEX_H

#include "base/err.h"
#include "cmd/command.h"
#include "pg/reindex.h"

#include <stdbool.h>
#include <stdint.h>

struct http_sync;
struct place;

// Whom an index was made for. It says so itself, as `_meta.outboxd` of its mappings, so it is made and marked in one step.
struct made_for {
	const char *table, *alias;
};

struct reindexing {
	const struct call *call;
	struct call inner; // of backfill and verify
	struct reindex *pg;
	struct http_sync *http;
	struct made_for made_for;
	const char *alias, *to;
	char *replaced;   // the alias of what was replaced
	char *from;       // the index that is to be replaced
	char *uuid;       // of the new index: one of the same name is another one
	bool ours;        // it bears our mark
	bool asked;       // the alias was just asked to move
	const char *said; // why we wait
};

// Writers wait about so long at most, and one statement more (reindex_hold.sql, which ends the session at twice that); then they
// may write again.
#define REINDEXING_HOLD_MS 15000
#define REINDEXING_PAUSE_MS 1000
#define REINDEXING_FILL "waits for a backfill of the new index that is just running"
#define REINDEXING_WRITERS "waits for open transactions that write the table; see pg_stat_activity"

typedef bool reindexing_act(struct reindex *r, bool *ret_done, struct err *e);

bool reindexing_interrupted(struct err *e);                  // says so, and returns false
void reindexing_say(struct reindexing *x, const char *what); // the same thing once
void reindexing_pause(int *pause_ms);                        // longer each time
// Again and again until it is done; `why` = what is said of it meanwhile.
bool reindexing_until(struct reindexing *x, reindexing_act *act, const char *why, struct err *e) must_check;
// p = the new index: neither an alias nor behind one, so nobody searches it. `kind` = what it is else.
bool reindexing_is_unseen(const struct reindexing *x, const struct place *p, enum err_kind kind,
			  struct err *e) must_check;
// Of the second index, when its triggers are off.
bool reindexing_untrack(struct reindexing *x, struct err *e) must_check;

// -- the swap

// Until what was written for the new index is delivered.
bool swap_wait(struct reindexing *x, struct err *e) must_check;
// Moves the alias, or does the rest of it where it has moved.
bool swap_run(struct reindexing *x, struct err *e) must_check;
bool swap_say_what_is_kept(struct reindexing *x, struct err *e) must_check;

// -- the ways back

bool back_abort(struct reindexing *x, struct err *e) must_check;
bool back_drop(struct reindexing *x, struct err *e) must_check;

// -- Elasticsearch

// until_ms, wherever it stands: asks no longer than to that moment (clock_boot_ms), and Elasticsearch does it before or not at all;
// 0 = patiently, while Elasticsearch is away.

// What stands behind a name.
struct place *place_look(struct http_sync *http, const char *name, int64_t until_ms,
			 struct err *e) must_check; // NULL = failed
void place_free(struct place *p);                   // NULL is fine
int place_count(const struct place *p);             // of indexes; 0 = nothing has the name
bool place_is_index(const struct place *p);         // it is that of an index, and no alias
bool place_has(const struct place *p, const char *index);
bool place_is_only(const struct place *p, const char *index);     // that one, and no other
const char *place_uuid(const struct place *p, const char *index); // "" = there is no such index
// Of the indexes; NULL before the first and after the last.
const char *place_next(const struct place *p, const char *index);
// One that the index has besides these two (NULL = no such); NULL = none.
const char *place_alias(const struct place *p, const char *index, const char *but, const char *nor);
bool place_is_marked(const struct place *p, const struct made_for *m); // NULL = for anybody
bool place_is_made_of(const struct place *p, const char *body);        // of an index_body that says the same
// An alias of one index that can be taken from it, without anything else that leads there (but `replaced`).
bool place_may_be_left(const struct place *p, const char *replaced, struct err *e) must_check;

// What makes an index: the file, NULL = none, with the mark. The caller owns the text; NULL = failed.
char *index_body(const char *file, const struct made_for *m, struct err *e) must_check;
bool index_make(struct http_sync *http, const char *name, const char *body, const struct made_for *m,
		struct err *e) must_check;
// Also when there is none.
bool index_delete(struct http_sync *http, const char *name, int64_t until_ms, struct err *e) must_check;
bool index_refresh(struct http_sync *http, const char *name, int64_t until_ms, struct err *e) must_check;
bool index_count(struct http_sync *http, const char *name, int64_t *ret, struct err *e) must_check;

// In one step: the alias is that of `to`, with all that was said of it, and `kept` that of what was there. That it failed does not
// say that it was not done.
bool alias_move(struct http_sync *http, const struct place *from, const char *to, const char *kept,
		int64_t until_ms, struct err *e) must_check;

#endif
