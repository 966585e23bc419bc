// SPDX-License-Identifier: MIT
// Reads JSON as text, without a tree, so that every value stays as it was written: 19.90, 1e400, twenty digits. Strict in its
// grammar (RFC 8259), but for UTF-8, which PostgreSQL and Elasticsearch have seen to.
#ifndef OUTBOXD_CORE_JSON_TEXT_H
#define OUTBOXD_CORE_JSON_TEXT_H

#include "base/attr.h"
#include "core/row.h"

#include <stdbool.h>
#include <stddef.h>

#define JSON_ANSWER_DEPTH 2000  // of what Elasticsearch says
#define JSON_DOCUMENT_DEPTH 200 // of what is merged, within it

// The whole text is one valid value, an object, and no deeper.
bool json_is_text_of_object(struct slice text, int depth) must_check;

// A walk through the members of an object, or the elements of an array, of a text that is known to be valid.
struct json_walk {
	const char *p, *end;
};
struct json_member {
	struct slice key; // as written, without its quotes; of an element p = NULL
	struct slice value;
};
struct json_walk json_walk(struct slice container);
bool json_next(struct json_walk *w, struct json_member *ret); // false = that were all

// "a" and "\u0061" are one key.
bool json_same_key(struct slice a, struct slice b);
// The value of the first member of that name; p NULL = there is none, or it is no object.
struct slice json_get(struct slice object, const char *name);
bool json_is(struct slice value, const char *text);
// A string's text; "" for anything else. Cut to the array between two characters; half a surrogate pair becomes '?'.
void json_read_string(struct slice value, char *out, size_t cap);

#endif
