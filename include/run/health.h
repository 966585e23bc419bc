// SPDX-License-Identifier: MIT
// What the relay knows of its own state: metrics, the table's backlog, troubles, and whether events can be delivered now.
#ifndef OUTBOXD_RUN_HEALTH_H
#define OUTBOXD_RUN_HEALTH_H

#include "base/buf.h"
#include "core/metrics.h"
#include "pg/survey.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct relay;

#define HEALTH_NOTES 10
#define HEALTH_RATE_SECONDS 10

struct health {
	struct metrics metrics;
	struct backlog backlog;
	struct horizon_holder holder;
	// The count that is under way. Until it has ended well the last one stands.
	struct {
		struct backlog backlog;
		struct horizon_holder holder;
	} counting;
	char held_by[64]; // whom we have seen holding it, since when
	int64_t held_ms;
	int64_t counted_ms; // when; 0 = not yet
	int64_t pinned_said_ms;
	// The last troubles, newest at (noted - 1) % HEALTH_NOTES.
	struct note {
		int64_t at_ms;
		const char *event; // static
		char text[256];
	} notes[HEALTH_NOTES];
	int64_t noted;
	char why[TROUBLE_COUNT_][256]; // the last sentence of each enum trouble_kind
	// What was counted some time ago, for rates and quantiles of the last minutes: [0] is older.
	struct histogram_counts delivery[2], bulk[2];
	int64_t turned_ms;
	double done[HEALTH_RATE_SECONDS]; // by second, round and round
	int64_t seconds;
	ev_timer tick;
};

void health_start(struct relay *r);
void health_stop(struct relay *r);

// A trouble, once per change like the log: counts it and keeps its sentence.
void health_trouble(struct relay *r, enum trouble_kind kind, const char *event, const char *text);
void health_counted(struct relay *r); // backlog and holder are fresh
// Age of the oldest pending event now, seconds.
double health_lag(const struct relay *r);
double health_rate(const struct relay *r); // events a second that were delivered or superseded lately
// Can events be delivered now? If not, a line for each reason is added; tell_why: with the server's own sentence.
bool health_ready(const struct relay *r, bool tell_why, struct buf *reasons);
void health_sample(struct relay *r); // fills in what is only looked at when somebody asks
// GET /status: JSON, the caller owns it. NULL = some value is not what JSON can hold: a bug.
char *health_status(struct relay *r);

#endif
