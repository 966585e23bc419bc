// SPDX-License-Identifier: MIT
// Private to batch*.c.
#ifndef OUTBOXD_CORE_BATCH_INSIDE_H
#define OUTBOXD_CORE_BATCH_INSIDE_H

#include "base/mem.h"
#include "core/batch.h"

// uthash would exit() when memory is gone; ours aborts like everything else.
#define uthash_malloc(size) mem_calloc(1, size)
#include <uthash.h>

struct document {
	UT_hash_handle hh;
	int32_t last;    // its newest entry so far
	int32_t carrier; // the entry that got bytes last; -1 = none
	bool refused;    // the claim has an event of it that was refused earlier; the newest is refused_id
	bool behind;     // its updates wait for the event `older`, until a full document comes
	int64_t refused_id, older, older_wait_ms;
	int64_t whole_id; // of its newest full document; INT64_MIN = none
	uint32_t index_len, id_len;
	char text[]; // index name, NUL, document id
};

struct batch {
	struct entry *entries;
	size_t count, cap;
	size_t *sent; // entries in body order
	size_t sent_count, sent_cap;
	struct range *ranges; // a stack: the next request is on top
	size_t range_count, range_cap;
	struct trouble *troubles;
	size_t trouble_count, trouble_cap;
	struct document *documents; // uthash
	struct buf key;             // scratch for look-ups
	size_t body_first;          // first entry of the body being built
	size_t live_bytes;
	size_t updates; // among the entries
	size_t fates[FATE_COUNT_], uncounted;
};

// Makes room for one more element of an array that doubles.
void *batch_grow(void *array, size_t count, size_t *cap, size_t size);

#endif
