// SPDX-License-Identifier: MIT
// One asynchronous PostgreSQL connection in the libev loop. It runs one script at a time: a list of statements that
// travels in one round trip (libpq's pipeline mode). Any doubt closes the connection; its open transaction
// dies with it, which is all the recovery there is.
#ifndef OUTBOXD_PG_CONN_H
#define OUTBOXD_PG_CONN_H

#include "base/buf.h"
#include "base/err.h"
#include "pg/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct conn;

struct step {
	const char *sql;
	const struct param *params; // text and bytes are copied by conn_run
	int param_count;
	bool stream; // rows are handed over one by one as they arrive, never collected. Not for the first step
	bool kept;   // by name, where conn_meet found that this can be: plans.h. sql lives as long as c
};

struct script_result {
	bool ok;
	struct err error;     // the first error when not ok, with its SQLSTATE
	int failed_step;      // where it happened
	int64_t affected[16]; // rows touched or returned, by step
};
#define SCRIPT_STEPS_MAX 16

// All callbacks come from the loop, never from within a conn_ function. Each but `row` may call any conn_ function
// except conn_free; it is the last thing that conn does before it returns to the loop.
struct conn_callbacks {
	void (*up)(void *arg);
	void (*down)(void *arg, const struct err *e); // closed; conn_open may be called again
	// One row of a step; the values are borrowed for the call. false = stop reading after this row: `paused` is
	// called, and nothing more until conn_resume.
	bool (*row)(void *arg, int step, const struct pg_result *res, int row);
	void (*paused)(void *arg);
	void (*done)(void *arg, const struct script_result *result);
	// at_rest: it came while no script ran. A transaction pooler hands notifications over only while one does.
	void (*notified)(void *arg, bool at_rest);
};

struct conn *conn_new(struct ev_loop *loop, const char *dsn, const struct conn_callbacks *callbacks,
		      void *arg);
void conn_free(struct conn *c); // NULL is fine; not from a callback

void conn_open(struct conn *c, int64_t timeout_ms); // ends in `up` or `down`. Name resolution blocks (libpq)
void conn_close(struct conn *c);                    // at once, no callback; the server rolls back
bool conn_is_up(const struct conn *c);
// Runs a script on an idle connection; ends in `done` or `down`.
void conn_run(struct conn *c, const struct step *steps, int count);
void conn_resume(struct conn *c); // after a pause
// The server's own pg_backend_pid(): where it is what we were told at the start, the session is ours alone, and statements
// can be kept in it (plans.h).
void conn_meet(struct conn *c, int64_t backend_pid);

void conn_add_version(struct buf *out); // "libpq 15.18"

#endif
