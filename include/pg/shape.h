// SPDX-License-Identifier: MIT
// Is the outbox a plain table or a partitioned one? For whoever works over a blocking connection.
#ifndef OUTBOXD_PG_SHAPE_H
#define OUTBOXD_PG_SHAPE_H

#include "base/err.h"
#include "pg/mapping.h"
#include "pg/sync.h"

enum shape { SHAPE_MISSING, SHAPE_PLAIN, SHAPE_PARTITIONED };

// Asks, and makes the mapping that of such a table. False = failed, or the table is none that outboxd can use (ERR_CONFIG).
bool shape_read(struct mapping *m, struct sync *db, enum shape *ret, struct err *e) must_check;

#endif
