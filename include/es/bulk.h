// SPDX-License-Identifier: MIT
// The bytes of _bulk: NDJSON out, answers in. A document is bytes and is never parsed (jansson would turn 19.90
// into 19.899999999999999); only answers are.
#ifndef OUTBOXD_ES_BULK_H
#define OUTBOXD_ES_BULK_H

#include "base/buf.h"
#include "base/err.h"
#include "core/row.h"

#include <stdbool.h>
#include <stddef.h>

// Path and query of the request; refresh is "false", "wait_for" or "true"; timeout_ms is the server-side wait
// for unassigned shards. Only parameters that every version of both products knows.
void bulk_path(char *out, size_t cap, const char *refresh, int64_t timeout_ms);

// Appends the action line and, except for a plain delete, the document line of a row that passed row_check.
// Raw newlines of the document become spaces (valid JSON has them only between tokens). tombstone: a delete is
// sent as the document {"deleted":true}. On a full buffer nothing of the row stays in it and false is returned.
bool bulk_append(struct buf *body, const struct row *row, enum op op, bool tombstone) must_check;
// An update: its action line is that of a whole document, which bulk_merge makes of the lines below it. Those are what it takes
// up, the bytes from..to of the body without their action line (equal = nothing), and then its own part.
bool bulk_append_part(struct buf *body, const struct row *row, size_t from, size_t to) must_check;
// Where its document is, as members of an object: "_index", "_id" and, where there is one, "routing".
struct slice bulk_target(struct slice event);
// Where the lines below the action line begin.
size_t bulk_below_action(const char *event, size_t len);
// Appends an update as it is sent: the action line, and the parts merged one after the other into `document` (p NULL = there is
// none), or, based, into the first of them. False: they cannot be merged, or it is too large; then nothing was appended.
bool bulk_merge(struct buf *to, struct slice event, struct slice document, bool based) must_check;

struct bulk_item {
	int status;
	const char *type;   // error.type or ""
	const char *reason; // error.reason or ""
	const char *index;  // "" unless it was asked for, and bulk_decode_whole reads the answer
};
typedef void bulk_item_callback(void *arg, size_t position, const struct bulk_item *item);

// Reads the answer to a request of `expected` events. Calls back for every item in order only after the whole
// answer was understood: complete JSON, `errors` a boolean, `items` an array of exactly `expected` objects
// with a status. Otherwise false, no callback was made, and *e says what was wrong (never any payload).
bool bulk_decode(const char *body, size_t len, size_t expected, bulk_item_callback *cb, void *arg,
		 struct err *e) must_check;

// The same, however clean it is, with the index of each item.
bool bulk_decode_whole(const char *body, size_t len, size_t expected, bulk_item_callback *cb, void *arg,
		       struct err *e) must_check;

// error.type and error.reason of an answer that is not 200, cut to the arrays; "" when the body says nothing
// readable (HTML of a proxy, empty).
struct bulk_error {
	char type[128];
	char reason[512];
};
void bulk_error_read(const char *body, size_t len, struct bulk_error *ret);

#endif
