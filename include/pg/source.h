// SPDX-License-Identifier: MIT
// A table whose rows are documents, as `track`, `backfill` and `verify` see it: what the server says of it (track_facts.sql), and
// the SQL files about it with that put in.
#ifndef OUTBOXD_PG_SOURCE_H
#define OUTBOXD_PG_SOURCE_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>

struct mapping;
struct pg_result;
struct sync;

// NULL = not given.
struct source_spec {
	const char *table, *index;
	const char *key;       // a unique column instead of the primary key
	const char *view;      // whose row, or column `document`, is the document
	const char *columns;   // "a,b": the document has no others
	const char *condition; // over the row t; what does not fulfil it is not in the index
};

struct source;

// A connection of its own. NULL = failed.
struct source *source_open(const struct config *config, struct err *e) must_check;
void source_close(struct source *s); // NULL is fine
struct sync *source_db(const struct source *s);
const struct mapping *source_mapping(const struct source *s);

// What track_facts.sql finds becomes blanks, and the server has understood the document. `remarks` = what triggers shall
// remember besides: touches, truncate, always. Refused for presets whose newest event of a document is not its state.
bool source_find(struct source *s, const struct source_spec *spec, const char *const remarks[3],
		 struct err *e) must_check;
// As source_find, for the table as it is tracked; spec->index NULL = the only one into which it is. A table that is not
// tracked must be specified, one that is must not be specified otherwise.
bool source_find_tracked(struct source *s, const struct source_spec *spec, struct err *e) must_check;

// One row that says its own problem in its first column (NULL = none); its others become blanks.
bool source_look(struct source *s, const char *sql, const char *const *params, int count,
		 struct err *e) must_check;
// Borrows both. Of two with the same name the later one counts.
void source_put(struct source *s, const char *name, const char *value);
const char *source_get(const struct source *s,
		       const char *name);                 // never NULL: the caller knows that it is there
bool source_is(const struct source *s, const char *name); // a boolean
// What was put after the mark is forgotten.
int source_mark(const struct source *s);
void source_forget(struct source *s, int mark);

// A transaction with the settings on which documents depend. Waits for no lock longer than half a second. After a failure
// source_rollback, or close.
bool source_begin(struct source *s, struct err *e) must_check;
bool source_commit(struct source *s, struct err *e) must_check;
bool source_rollback(struct source *s, struct err *e) must_check;

char *source_fill(const struct source *s, const char *sql); // the caller owns the text
// NULL = failed. The caller frees the result with sync_free.
struct pg_result *source_query(struct source *s, const char *sql, const char *const *params, int count,
			       struct err *e) must_check;
// The same in a transaction of its own, which is left open when it failed.
struct pg_result *source_ask(struct source *s, const char *sql, const char *const *params, int count,
			     struct err *e) must_check;
// Says of which command and table, and what to do. Returns false.
bool source_explain(struct err *e, const char *command, const char *table);
bool source_is_busy(const struct err *e); // another transaction is in the way, for now

#endif
