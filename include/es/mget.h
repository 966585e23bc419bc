// SPDX-License-Identifier: MIT
// The answer of _mget. Documents are bytes here, too.
#ifndef OUTBOXD_ES_MGET_H
#define OUTBOXD_ES_MGET_H

#include "base/err.h"
#include "core/row.h"

#include <stdbool.h>
#include <stddef.h>

struct mget_doc {
	bool found;
	struct slice source; // borrowed from the answer; p NULL = it is not found, or the index keeps none
	char type[128];      // of the error, "" = there is none
	char reason[512];
};
typedef void mget_callback(void *arg, const struct mget_doc *doc);

// Calls back for each of the `expected` documents, in their order, and only after the whole answer was understood. Otherwise false,
// and *e says what was wrong (never any payload).
bool mget_read(const char *body, size_t len, size_t expected, mget_callback *cb, void *arg,
	       struct err *e) must_check;

#endif
