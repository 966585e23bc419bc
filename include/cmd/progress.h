// SPDX-License-Identifier: MIT
// How far a long command is, on stderr: on a terminal one line that is drawn again and again, else a plain line every few
// seconds.
#ifndef OUTBOXD_CMD_PROGRESS_H
#define OUTBOXD_CMD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; // "requeue"
	int64_t total;    // -1 = unknown
	bool terminal;
	int64_t started_ms, shown_ms;
};

bool progress_on_terminal(void);
void progress_start(struct progress *p, const char *what, int64_t total);
void progress_show(struct progress *p, int64_t done); // as often as you like
void progress_end(struct progress *p);                // leaves no trace on a terminal

#endif
