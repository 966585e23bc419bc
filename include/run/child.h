// SPDX-License-Identifier: MIT
// A process of its own for what takes long: another command of this very program, with its settings, which reports as JSON on its
// standard output. Neither its memory nor its waits are the relay's.
#ifndef OUTBOXD_RUN_CHILD_H
#define OUTBOXD_RUN_CHILD_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct json_t;

// Both are borrowed for the call. report NULL = it said nothing that is JSON; then `why` says how it ended.
typedef void child_callback(void *arg, struct json_t *report, const char *why);

struct child {
	struct ev_loop *loop;
	ev_child watcher;
	pid_t pid;                // 0 = none runs
	bool asked;               // to end: a second signal would not let it
	int report_fd, errors_fd; // what it says, in memory; -1 = none
	child_callback *ended;
	void *arg;
};

void child_init(struct child *c, struct ev_loop *loop, child_callback *ended, void *arg);
// command = its arguments, ends with NULL. It finds `dsn` in its environment. Returns 0, or the errno of why it did not begin.
int child_begin(struct child *c, char *const *command, const char *dsn);
bool child_runs(const struct child *c);
void child_ask_to_end(struct child *c); // SIGTERM; the callback comes when it has ended
void child_done(struct child *c);       // the same, and no callback comes any more

// Of a report: "" and 0 where it has none. The text is borrowed from it.
const char *report_text(const struct json_t *report, const char *name);
int64_t report_number(const struct json_t *report, const char *name);

#endif
