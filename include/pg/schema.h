// SPDX-License-Identifier: MIT
// `outboxd init`: makes or upgrades the outbox table, and refuses what it cannot map.
#ifndef OUTBOXD_PG_SCHEMA_H
#define OUTBOXD_PG_SCHEMA_H

#include "base/config.h"
#include "base/err.h"

#include "pg/mapping.h"
#include "pg/sync.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct schema_wants {
	bool notify;            // install the wake-up trigger
	bool partitioned;       // make a new table in partitions, and have the relay make and drop these
	int64_t partition_rows; // of each; 0 = as many as is sound
	const char *role; // the login of the relay, made if need be, with the least privileges; NULL = none
};
// Idempotent. Says on `out` what it did.
bool schema_init(const struct config *config, const struct schema_wants *wants, FILE *out,
		 struct err *e) must_check;
// Can the server understand the field's expression, and is it of the right type?
bool schema_check_field(struct sync *db, const struct mapping *m, const struct mapping_field *f,
			struct err *e) must_check;
// Prints the SQL of a first init and touches nothing.
bool schema_print(const struct config *config, const struct schema_wants *wants, FILE *out,
		  struct err *e) must_check;

#endif
