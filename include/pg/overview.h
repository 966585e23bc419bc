// SPDX-License-Identifier: MIT
// What `outboxd status` shows.
#ifndef OUTBOXD_PG_OVERVIEW_H
#define OUTBOXD_PG_OVERVIEW_H

#include "base/err.h"
#include "pg/desk.h"

#include <stdbool.h>

struct overview {
	struct pg_result *backlog; // one row, see backlog.sql
	struct pg_result *rate;    // one row with a number per second; NULL = unknown
	struct pg_result *holders; // one row for each session that holds lanes
	struct pg_result *locker;  // one row or none: who locks the table, see locker.sql
	struct pg_result *horizon; // one row or none: who keeps dead rows from being vacuumed
};

// rate: only where delivered rows stay. Freed with overview_done, also after a failure.
bool overview_read(struct desk *d, bool rate, struct overview *ret, struct err *e) must_check;
void overview_done(struct overview *o);
// Events that are pending now; -1 = it could not be found out.
long long overview_pending(struct desk *d);

#endif
