// SPDX-License-Identifier: MIT
#include "core/suspects.h"

// FNV-1a. Two names of one hash would blame an event too early, and only count an attempt of it.
static uint64_t hash(struct slice name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * 0x100000001b3u;
	return h;
}

bool suspects_again(struct suspects *s, int64_t id, struct slice index, struct rng *rng)
{
	unsigned at;

	for (unsigned i = 0; i < s->count; i++) {
		bool cleared = s->item[i].cleared;

		if (s->item[i].id != id)
			continue;
		s->item[i].cleared = false; // by what comes, if it fails once more
		s->waiting += cleared;
		return cleared;
	}
	if (s->count < SUSPECTS_MAX) {
		at = s->count++;
		s->waiting++;
	} else {
		at = (unsigned)(rng_next(rng) % SUSPECTS_MAX);
		s->waiting += s->item[at].cleared;
	}
	s->item[at] = (struct suspect){ .id = id, .index = hash(index) };
	return false;
}

void suspects_index_works(struct suspects *s, struct slice index)
{
	uint64_t h = hash(index);

	for (unsigned i = 0; i < s->count; i++) {
		if (s->item[i].cleared || s->item[i].index != h)
			continue;
		s->item[i].cleared = true;
		s->waiting--;
	}
}
