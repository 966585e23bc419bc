// SPDX-License-Identifier: MIT
// The relay: starts the workers, hands out work, drains and stops. One per process.
#ifndef OUTBOXD_RUN_RELAY_H
#define OUTBOXD_RUN_RELAY_H

#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

// Told once a second how many events of --once are done, instead of a line in the log.
struct relay_watcher {
	void (*show)(void *arg, int64_t done);
	void *arg;
};

struct relay_start {
	const struct config *config;
	const char *version;
	bool once;
	const struct relay_watcher *watcher; // NULL = nobody watches
	char *const *verify;                 // the arguments of [verify] interval's process, NULL at the end
	char *const *sweep; // those of the process that carries out a delete_by_query, less the event's id
};

// Runs until a signal ends it or, with once, until every event that was there at the start is delivered, dead or
// out of time. Returns the exit code: 0; with once also 65 (some events went dead), 75 (events are left),
// 78 (the table or mapping cannot be used). *e is filled when it could not even start.
int relay_run(const struct relay_start *start, struct err *e);

void relay_add_version(struct buf *out); // "libev 4.33"

#endif
