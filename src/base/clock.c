// SPDX-License-Identifier: MIT
#include "base/clock.h"

#include <assert.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int64_t now_us(clockid_t id)
{
	struct timespec t;
	int failed = clock_gettime(id, &t);
	assert(!failed); // both clocks exist on every Linux that can run us
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_boot_us(void)
{
	return now_us(CLOCK_BOOTTIME);
}

int64_t clock_boot_ms(void)
{
	return clock_boot_us() / 1000;
}

int64_t clock_wall_us(void)
{
	return now_us(CLOCK_REALTIME);
}

// splitmix64: what the authors of xoshiro advise for filling its state; never yields four zeros in a row.
void rng_seed(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		seed += 0x9e3779b97f4a7c15u;
		uint64_t z = seed;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		r->s[i] = z ^ (z >> 31);
	}
}

void rng_seed_from_system(struct rng *r)
{
	uint64_t seed;
	// Only jitter depends on it: a clock is good enough where the kernel gives nothing.
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = (uint64_t)clock_wall_us() ^ ((uint64_t)getpid() << 40);
	rng_seed(r, seed);
}

static uint64_t rotate(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t rng_next(struct rng *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotate(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

int64_t rng_between(struct rng *r, int64_t low, int64_t high)
{
	assert(low <= high);
	uint64_t span = (uint64_t)high - (uint64_t)low;
	if (span == UINT64_MAX)
		return (int64_t)rng_next(r);
	// Numbers below 2^64 mod (span + 1) are thrown away, so that no result is more likely than another.
	uint64_t count = span + 1;
	// cppcheck-suppress oppositeExpression ; that is 2^64 - count
	uint64_t unfair = -count % count;
	uint64_t x;
	do
		x = rng_next(r);
	while (x < unfair);
	return (int64_t)((uint64_t)low + x % count);
}
