// SPDX-License-Identifier: MIT
// A server error (5xx) of one event says too little: its index may be in trouble, or the event's own document may break
// a pipeline. Whoever fails again after others of its index were accepted is to blame itself.
#ifndef OUTBOXD_CORE_SUSPECTS_H
#define OUTBOXD_CORE_SUSPECTS_H

#include "core/backoff.h"
#include "core/row.h"

#include <stdbool.h>
#include <stdint.h>

#define SUSPECTS_MAX 256

struct suspects {
	unsigned count;
	unsigned waiting; // not cleared: who accepts events need only ask while there are any
	struct suspect {
		int64_t id;
		uint64_t index; // hash of its name
		bool cleared;   // the index is: others of it were accepted since
	} item[SUSPECTS_MAX];
};

// The event failed, and nothing else of its index was accepted with it. True: others were, since it failed the
// last time. When there is no room, one by lot makes some: the oldest would always be gone before it comes back.
bool suspects_again(struct suspects *s, int64_t id, struct slice index, struct rng *rng);
void suspects_index_works(struct suspects *s, struct slice index);

#endif
