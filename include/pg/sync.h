// SPDX-License-Identifier: MIT
// Plain blocking PostgreSQL for the operator's commands. Values in and out are text.
#ifndef OUTBOXD_PG_SYNC_H
#define OUTBOXD_PG_SYNC_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct sync;
struct pg_result;

struct sync *sync_open(const char *dsn, struct err *e) must_check; // NULL = failed
void sync_close(struct sync *s);                                   // NULL is fine
// After a sync_open that failed: is somebody there, who refuses this user, password or database? A server that is
// starting or stopping is not there.
bool sync_answers(const char *dsn);
// A statement that takes longer is given up, and with it the connection; 0 = no limit.
void sync_limit(struct sync *s, int64_t limit_ms);
struct sync_session {
	int pid;       // what the server said at the start; a pooler says something of its own
	bool tls;      // encrypted
	bool verified; // and its certificate and name were looked at
	bool local;    // a Unix socket or a loopback address
};
void sync_session(const struct sync *s, struct sync_session *ret);
// One or more statements without parameters.
bool sync_exec(struct sync *s, const char *sql, struct err *e) must_check;
// One statement; NULL = failed. The caller frees the result with sync_free.
struct pg_result *sync_query(struct sync *s, const char *sql, const char *const *params, int count,
			     struct err *e) must_check;
// Only asks the server to understand the statement; the type of the first column as its OID.
bool sync_describe(struct sync *s, const char *sql, unsigned *ret_type, struct err *e) must_check;
void sync_free(struct pg_result *res);

int sync_rows(const struct pg_result *res);
int sync_columns(const struct pg_result *res);
const char *sync_column(const struct pg_result *res, int col);
bool sync_is_number(const struct pg_result *res, int col);            // an integer or float8
const char *sync_text(const struct pg_result *res, int row, int col); // NULL = SQL NULL
int64_t sync_int(const struct pg_result *res, int row, int col);      // 0 = SQL NULL
bool sync_true(const struct pg_result *res, int row, int col);        // false = SQL NULL

struct row;
// A row of check_rows.sql or probe_row.sql: id, version and the fields of the mapping. Borrows from res.
void sync_row(const struct pg_result *res, int row, struct row *ret);

#endif
