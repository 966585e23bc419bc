// SPDX-License-Identifier: MIT
#include "core/backoff.h"

// base * 2^step, without overflow, at most cap.
static int64_t ceiling(int64_t base_ms, int64_t cap_ms, int step)
{
	int64_t limit = base_ms;

	for (int i = 0; i < step && limit < cap_ms; i++)
		limit = limit > cap_ms / 2 ? cap_ms : limit * 2;
	return limit < cap_ms ? limit : cap_ms;
}

int64_t backoff_next(struct backoff *b, struct rng *rng, int64_t at_least_ms)
{
	int64_t wait = rng_between(rng, 1, ceiling(b->base_ms, b->cap_ms, b->step));
	// A server may name its own pause, but not put us to sleep for a day.
	int64_t least = at_least_ms < b->cap_ms ? at_least_ms : b->cap_ms;

	if (b->step < 62)
		b->step++;
	return wait > least ? wait : least;
}

int64_t backoff_after(int64_t base_ms, int64_t cap_ms, int attempts, struct rng *rng)
{
	return rng_between(rng, 1, ceiling(base_ms, cap_ms, attempts));
}
