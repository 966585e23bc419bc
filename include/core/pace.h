// SPDX-License-Identifier: MIT
// How fast and how much: when to look at the table again, how many rows to claim, how many bytes to send, how many
// batches to have in flight. Grows while all goes well, falls on a load signal.
#ifndef OUTBOXD_CORE_PACE_H
#define OUTBOXD_CORE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pace_limits {
	int64_t rows_max;  // of a claim
	int64_t bytes_max; // of a request
	int workers_max;
	int64_t poll_ms; // longest pause between two looks
};

struct pace {
	struct pace_limits limits;
	int64_t rows;
	int64_t bytes;
	int workers;
	int yielded;  // of the workers, until the end of a backlog of which other relays hold lanes
	int good;     // requests since the last change of these
	bool hungry;  // there is a backlog: all workers go, each with a share of the lanes
	bool crowded; // other relays hold lanes of the backlog
	bool woken;   // look at once
	bool missed;  // a look left out lanes that a sibling held
	bool unseen; // the last look was for a share of the lanes: after a backlog's last one, another one is due
	bool notified; // NOTIFY reaches us: no need to poll fast
	bool sweep_wanted;
	int64_t gap_ms;
	int64_t next_ms;
	int64_t looked_ms; // when the last look began
};

void pace_init(struct pace *p, const struct pace_limits *limits);
void pace_wake(struct pace *p);
// When another batch may begin beside so many; INT64_MAX = not before one of them has ended.
int64_t pace_next_start(const struct pace *p, int in_flight);
// A look begins that leaves out lanes (missed) or is not a sweep.
void pace_looking(struct pace *p, int64_t now_ms, bool all_lanes, bool sweep);
void pace_swept(struct pace *p); // every lane was swept by itself since the last time
// A claim ended with so many rows; full = some lane gave as many as it was asked for; crowded = others held lanes that it tried.
void pace_claimed(struct pace *p, int64_t now_ms, int64_t rows, bool full, bool crowded);
void pace_released(struct pace *p); // lanes were set free
// When to look next; sweep_ms = when a sweep is affordable.
int64_t pace_next_look(const struct pace *p, int64_t sweep_ms);

// A claim of `rows` rows gave `bytes` bytes in all: adapts the number of rows to what fills one request.
void pace_filled(struct pace *p, int64_t rows, int64_t bytes, bool full);
void pace_fewer_rows(struct pace *p);               // a claim took longer than it may
void pace_slow(struct pace *p);                     // 429, breakers: half of everything
void pace_too_large(struct pace *p, int64_t bytes); // 413 for a request of so many bytes: never again
void pace_good(struct pace *p);                     // a request was accepted

#endif
