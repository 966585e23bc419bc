// SPDX-License-Identifier: MIT
// What `outboxd verify` asks PostgreSQL: which documents are to be there, and whether what Elasticsearch answers is that.
// Both sides are compared as jsonb, so numbers are exact and the order of fields is none.
#ifndef OUTBOXD_PG_VERIFY_H
#define OUTBOXD_PG_VERIFY_H

#include "base/config.h"
#include "base/err.h"
#include "pg/source.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct verify;
struct pg_result;

#define VERIFY_ALL 10000 // of so many keys

// `except` = "a,b": fields of the document that do not count, NULL = none. sample = so many in VERIFY_ALL keys, chosen by their
// hash. NULL = failed.
struct verify *verify_open(const struct config *config, const struct source_spec *s, const char *except,
			   int sample, struct err *e) must_check;
void verify_close(struct verify *v); // NULL is fine
const char *verify_table(const struct verify *v);
const char *verify_index(
	const struct verify *v); // where to search; "" = the id of a document is not the row's key there
bool verify_is_shared(const struct verify *v);  // the index has documents of other tables, too
bool verify_is_tracked(const struct verify *v); // so what has no row is surplus, and nobody else's

bool verify_is_lost(const struct verify *v); // the session: nothing can be asked any more

// Results are freed with sync_free. An answer that PostgreSQL cannot read is ERR_DATA.

// The next rows: see verify_next.sql.
enum { NEXT_ROWS, NEXT_LAST, NEXT_KEYS, NEXT_PRINTS, NEXT_BODY, NEXT_DOCUMENTS, NEXT_BYTES, NEXT_ASKED };
struct pg_result *verify_next(struct verify *v, const char *after, int64_t limit, struct err *e) must_check;
// Those of them that want a close look: a key and an error each.
struct pg_result *verify_compare(struct verify *v, const struct pg_result *next, const char *answer,
				 struct err *e) must_check;
// `keys` is the text of an array: verify_add_key. What to ask Elasticsearch; one row, one text.
struct pg_result *verify_body(struct verify *v, const char *keys, struct err *e) must_check;
enum { LOOK_WRONG, LOOK_STATE, LOOK_VERSION, LOOK_WAITS, LOOK_ERROR };
struct pg_result *verify_look(struct verify *v, const char *keys, const char *answer,
			      struct err *e) must_check;
// A page of the index: a row about it, then the ids that no row has.
enum { PAGE_NEXT, PAGE_IDS, PAGE_TOTAL, PAGE_FAILED };
struct pg_result *verify_extra(struct verify *v, const char *answer, struct err *e) must_check;

// Writes an event for each key, in a transaction that first locks what it reads; of deletes, for a moment, the whole table
// against writes, for a row that comes meanwhile must come later. *ret_done false = somebody is in the way: again, later.
bool verify_repair(struct verify *v, const char *keys, int64_t count, bool deletes, bool *ret_done,
		   struct err *e) must_check;

void verify_add_key(struct buf *keys, const char *key); // to "{...", which the caller closes

#endif
