// SPDX-License-Identifier: MIT
#include "core/pace.h"

#include <string.h>

#define ROWS_AT_START 500
#define BYTES_LEAST (16 * 1024)
#define GOOD_BEFORE_GROWTH 8
// An answer of a server nearby takes 1 to 3 ms.
#define APART_MS 5

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
	return v < low ? low : v > high ? high : v;
}

void pace_init(struct pace *p, const struct pace_limits *limits)
{
	memset(p, 0, sizeof(*p));
	p->limits = *limits;
	p->rows = clamp(ROWS_AT_START, 1, limits->rows_max);
	p->bytes = limits->bytes_max;
	p->workers = limits->workers_max;
	p->woken = true;  // whatever lies there from before
	p->hungry = true; // most starts meet a backlog
}

void pace_wake(struct pace *p)
{
	p->woken = true;
}

// Without a backlog more requests are only smaller ones: they cost both servers more and make each other wait. But nobody waits long
// for a request of others, and where answers take long, they overlap.
int64_t pace_next_start(const struct pace *p, int in_flight)
{
	if (in_flight == 0)
		return 0;
	if (in_flight >= p->workers - p->yielded)
		return INT64_MAX;
	return p->hungry ? 0 : p->looked_ms + APART_MS;
}

void pace_looking(struct pace *p, int64_t now_ms, bool all_lanes, bool sweep)
{
	p->looked_ms = now_ms;
	p->unseen = p->hungry && !sweep;
	if (p->woken) {
		p->missed = p->missed || !all_lanes;
		p->sweep_wanted = true;
	}
	if (sweep && all_lanes)
		p->sweep_wanted = false;
	p->woken = false;
}

void pace_swept(struct pace *p)
{
	p->sweep_wanted = false;
}

void pace_claimed(struct pace *p, int64_t now_ms, int64_t rows, bool full, bool crowded)
{
	bool was_hungry = p->hungry;

	p->hungry = full;
	p->crowded = crowded && (p->crowded || was_hungry);
	if (!full && !crowded)
		p->yielded = 0;
	// Each look in vain costs PostgreSQL as much as two hundred events.
	if (p->crowded && was_hungry && rows == 0) {
		p->yielded = (int)clamp(p->yielded + 1, 0, p->limits.workers_max - 1);
		p->good = 0;
	}
	if (rows == 0) {
		int64_t longer = p->gap_ms ? p->gap_ms * 2 : 1;

		p->gap_ms = p->notified ? p->limits.poll_ms : clamp(longer, 1, p->limits.poll_ms);
	} else {
		p->gap_ms = 0;
	}
	p->next_ms = now_ms + (rows > 0 && p->notified && !full ? p->limits.poll_ms : p->gap_ms);
}

void pace_released(struct pace *p)
{
	if (p->missed)
		p->woken = true;
	p->missed = false;
}

int64_t pace_next_look(const struct pace *p, int64_t sweep_ms)
{
	int64_t next = p->next_ms;

	if (p->woken || p->hungry || p->unseen)
		return 0;
	if (p->sweep_wanted && sweep_ms < next)
		next = sweep_ms;
	return next;
}

void pace_filled(struct pace *p, int64_t rows, int64_t bytes, bool full)
{
	int64_t fit;

	if (rows == 0 || bytes <= 0)
		return;
	fit = (int64_t)((double)rows * (double)p->bytes / (double)bytes);
	if (fit < p->rows) // did not fit into one request: the rest waited for it with its rows locked
		p->rows = clamp(fit, 1, p->limits.rows_max);
	else if (full)
		p->rows = clamp(fit < p->rows * 2 ? fit : p->rows * 2, 1, p->limits.rows_max);
}

void pace_fewer_rows(struct pace *p)
{
	p->rows = clamp(p->rows / 4, 1, p->limits.rows_max);
}

void pace_slow(struct pace *p)
{
	p->bytes = clamp(p->bytes / 2, BYTES_LEAST, p->limits.bytes_max);
	p->workers = (int)clamp(p->workers / 2, 1, p->limits.workers_max);
	p->good = 0;
}

void pace_too_large(struct pace *p, int64_t bytes)
{
	p->limits.bytes_max = clamp(bytes / 2, BYTES_LEAST, p->limits.bytes_max);
	p->bytes = clamp(p->bytes, BYTES_LEAST, p->limits.bytes_max);
	p->good = 0;
}

void pace_good(struct pace *p)
{
	if (++p->good < GOOD_BEFORE_GROWTH)
		return;
	p->good = 0;
	p->bytes = clamp(p->bytes + p->bytes / 4, BYTES_LEAST, p->limits.bytes_max);
	p->workers = (int)clamp(p->workers + 1, 1, p->limits.workers_max);
	p->yielded = (int)clamp(p->yielded - 1, 0, p->limits.workers_max - 1);
}
