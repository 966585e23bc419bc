// SPDX-License-Identifier: MIT
// Exponential backoff with full jitter: the n-th wait is anywhere between 0 and min(cap, base * 2^n), so that
// many relays that lost one server do not come back in step.
#ifndef OUTBOXD_CORE_BACKOFF_H
#define OUTBOXD_CORE_BACKOFF_H

#include "base/clock.h"

#include <stdint.h>

struct backoff {
	int64_t base_ms;
	int64_t cap_ms;
	int step; // failures in a row
};

// The next wait in milliseconds; never less than at_least_ms (Retry-After; -1 = none), which is itself capped.
int64_t backoff_next(struct backoff *b, struct rng *rng, int64_t at_least_ms);
// The wait before attempt number `attempts` + 1 of one event.
int64_t backoff_after(int64_t base_ms, int64_t cap_ms, int attempts, struct rng *rng);

static inline void backoff_reset(struct backoff *b)
{
	b->step = 0;
}

#endif
