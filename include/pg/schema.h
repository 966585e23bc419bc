// SPDX-License-Identifier: MIT
// `outboxd init`: makes or upgrades the outbox table, and refuses what it cannot map.
#ifndef OUTBOXD_PG_SCHEMA_H
#define OUTBOXD_PG_SCHEMA_H

#include "base/config.h"
#include "base/err.h"

#include "pg/mapping.h"
#include "pg/sync.h"

#include <stdbool.h>
#include <stdio.h>

// Idempotent. Says on `out` what it did. notify: install the wake-up trigger. role: the login of the relay, made if need
// be, with the least privileges; NULL = none.
bool schema_init(const struct config *config, bool notify, const char *role, FILE *out,
		 struct err *e) must_check;
// Can the server understand the field's expression, and is it of the right type?
bool schema_check_field(struct sync *db, const struct mapping *m, const struct mapping_field *f,
			struct err *e) must_check;
// Prints the SQL of a first init and touches nothing.
bool schema_print(const struct config *config, bool notify, const char *role, FILE *out,
		  struct err *e) must_check;

#endif
