// SPDX-License-Identifier: MIT
// Time and randomness from the system. `core` never calls these: it is given their results.
#ifndef OUTBOXD_BASE_CLOCK_H
#define OUTBOXD_BASE_CLOCK_H

#include <stdint.h>

// Monotonic and counting while the machine is suspended (CLOCK_BOOTTIME): a relay that slept through its
// deadline must see that on waking.
int64_t clock_boot_us(void);
int64_t clock_boot_ms(void);
// Microseconds since 1970 (wall clock), for comparing with created_at of rows.
int64_t clock_wall_us(void);

// xoshiro256**; seeded from the kernel. Not for secrets.
struct rng {
	uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed); // deterministic, for tests
void rng_seed_from_system(struct rng *r);
uint64_t rng_next(struct rng *r);
int64_t rng_between(struct rng *r, int64_t low, int64_t high); // inclusive; low <= high

#endif
