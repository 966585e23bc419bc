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

static unsigned count(const struct suspects *s)
{
	return s->added < SUSPECTS_MAX ? s->added : SUSPECTS_MAX;
}

bool suspects_again(struct suspects *s, int64_t id, struct slice index)
{
	struct suspect *next = &s->item[s->added % SUSPECTS_MAX];

	for (unsigned i = 0; i < count(s); i++) {
		bool cleared = s->item[i].cleared;

		if (s->item[i].id != id)
			continue;
		s->item[i].cleared = false; // by what comes, if it fails once more
		s->waiting += cleared;
		return cleared;
	}
	s->waiting += s->added < SUSPECTS_MAX || next->cleared;
	s->added++;
	*next = (struct suspect){ .id = id, .index = hash(index) };
	return false;
}

void suspects_index_works(struct suspects *s, struct slice index)
{
	uint64_t h = hash(index);

	for (unsigned i = 0; i < count(s); i++) {
		if (s->item[i].cleared || s->item[i].index != h)
			continue;
		s->item[i].cleared = true;
		s->waiting--;
	}
}
