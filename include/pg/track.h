// SPDX-License-Identifier: MIT
// `outboxd track`: triggers that write the events of a table, for applications that cannot.
#ifndef OUTBOXD_PG_TRACK_H
#define OUTBOXD_PG_TRACK_H

#include "base/config.h"
#include "base/err.h"
#include "pg/source.h"

#include <stdbool.h>
#include <stdio.h>

// TRUNCATE is an error, a delete of each document, or one delete_by_query of all of them.
enum truncate { TRUNCATE_REFUSED, TRUNCATE_DELETES, TRUNCATE_QUERIES };
const char *truncate_name(enum truncate t);
bool truncate_read(const char *name, enum truncate *ret); // false = there is none of that name

struct track {
	struct source_spec source; // with an index; only changes of its columns are events
	const char
		*touches; // "child.column,...": the column names the row that its changes touch; NULL = none
	enum truncate truncate;
	bool always; // also what a subscription applies
};

// Replaces what was there for this table and index. Says on `out` what it did, with `print` only the statements; without that it
// may be NULL.
bool track_install(const struct config *config, const struct track *t, bool print, FILE *out,
		   struct err *e) must_check;
// `index` NULL: from all indexes. Nothing to remove is an error.
bool track_remove(const struct config *config, const char *table, const char *index, bool print, FILE *out,
		  struct err *e) must_check;

#endif
