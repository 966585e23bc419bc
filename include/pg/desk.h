// SPDX-License-Identifier: MIT
// Where an operator's command works: one blocking connection, and the mapping with which SQL files are filled in.
#ifndef OUTBOXD_PG_DESK_H
#define OUTBOXD_PG_DESK_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct desk;
struct pg_result;

// The columns of locker.sql.
enum { LOCKER_HOLDER, LOCKER_CURE, LOCKER_UNREADABLE };

// NULL = failed, also when somebody locks the table so that it cannot be read.
struct desk *desk_open(const struct config *config, struct err *e) must_check;
// A statement that takes longer is given up, and with it the connection.
void desk_limit(struct desk *d, int64_t limit_ms);
void desk_close(struct desk *d); // NULL is fine
bool desk_is_partitioned(const struct desk *d);
// One statement of sql/queries, in a transaction of its own. NULL = failed; a table that is not ready is ERR_CONFIG with its
// cure. The caller frees the result with sync_free.
struct pg_result *desk_query(struct desk *d, const char *sql, const char *const *params, int count,
			     struct err *e) must_check;
// The same after `first`, which sets something, in one transaction that only reads.
struct pg_result *desk_read(struct desk *d, const char *first, const char *sql, const char *const *params,
			    int count, struct err *e) must_check;
// The same, but it may write.
struct pg_result *desk_write(struct desk *d, const char *first, const char *sql, const char *const *params,
			     int count, struct err *e) must_check;
// The highest id that the table ever drew; -1 = nobody knows, or its versions are no ids.
bool desk_drawn(struct desk *d, int64_t *ret, struct err *e) must_check;

#endif
