// SPDX-License-Identifier: MIT
// The body of a batch: its bytes, and the requests that it is cut into.
#include "batch_inside.h"

#include <assert.h>
#include <string.h>

void *batch_grow(void *array, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 64;
	return mem_realloc(array, *cap, size);
}

size_t batch_live_bytes(const struct batch *b)
{
	return b->live_bytes;
}

void batch_compact(struct batch *b, struct buf *body)
{
	size_t to = 0;

	if (body->len == b->live_bytes)
		return;
	for (size_t i = b->body_first; i < b->count; i++) {
		struct entry *e = &b->entries[i];
		size_t len = e->end - e->start;

		if (len == 0)
			continue;
		if (e->start != to)
			memmove(body->data + to, body->data + e->start, len);
		e->start = to;
		to = e->end = to + len;
	}
	buf_truncate(body, to);
}

static void push_range(struct batch *b, size_t from, size_t to)
{
	b->ranges = batch_grow(b->ranges, b->range_count, &b->range_cap, sizeof(*b->ranges));
	b->ranges[b->range_count++] = (struct range){ from, to };
}

// The stack's top must be the first request: requests of one claim go out in the order of their events.
static void reverse_ranges(struct batch *b)
{
	for (size_t i = 0, j = b->range_count; i + 1 < j; i++) {
		struct range swap = b->ranges[i];

		j--;
		b->ranges[i] = b->ranges[j];
		b->ranges[j] = swap;
	}
}

void batch_seal(struct batch *b, struct buf *body, size_t max_bytes)
{
	size_t from = 0, bytes = 0;

	assert(b->range_count == 0);
	batch_compact(b, body);
	b->sent_count = 0;
	for (size_t i = b->body_first; i < b->count; i++) {
		size_t len = b->entries[i].end - b->entries[i].start;

		if (len == 0)
			continue;
		if (bytes > 0 && bytes + len > max_bytes) {
			push_range(b, from, b->sent_count);
			from = b->sent_count;
			bytes = 0;
		}
		b->sent = batch_grow(b->sent, b->sent_count, &b->sent_cap, sizeof(*b->sent));
		b->sent[b->sent_count++] = i;
		bytes += len;
	}
	if (b->sent_count > from)
		push_range(b, from, b->sent_count);
	reverse_ranges(b);
}

bool batch_has_next(const struct batch *b)
{
	return b->range_count > 0;
}

bool batch_next(struct batch *b, struct range *ret_range)
{
	if (b->range_count == 0)
		return false;
	*ret_range = b->ranges[--b->range_count];
	return true;
}

void batch_split(struct batch *b, const struct range *range)
{
	size_t middle = range->from + (range->to - range->from) / 2;

	assert(range->to - range->from > 1);
	push_range(b, middle, range->to);
	push_range(b, range->from, middle);
}

void batch_solo(struct batch *b, const struct range *range, size_t position)
{
	push_range(b, range->from + position, range->from + position + 1);
}

// From the end, for the first must lie on top.
void batch_rest(struct batch *b, const struct range *range)
{
	size_t to = range->to;

	for (size_t i = range->to; i-- > range->from;) {
		if (b->entries[b->sent[i]].verdict == VERDICT_NONE) {
			if (i == range->from)
				push_range(b, i, to);
			continue;
		}
		if (i + 1 < to)
			push_range(b, i + 1, to);
		to = i;
	}
}

void batch_drop_ranges(struct batch *b)
{
	b->range_count = 0;
}

void batch_body_sent(struct batch *b)
{
	for (size_t i = b->body_first; i < b->count; i++)
		b->entries[i].start = b->entries[i].end = 0;
	b->body_first = b->count;
	b->live_bytes = 0;
	b->sent_count = 0;
	b->range_count = 0;
}

size_t batch_sent_entry(const struct batch *b, const struct range *range, size_t position)
{
	assert(range->from + position < range->to && range->to <= b->sent_count);
	return b->sent[range->from + position];
}

void batch_range_bytes(const struct batch *b, const struct range *range, size_t *ret_start, size_t *ret_end)
{
	*ret_start = b->entries[b->sent[range->from]].start;
	*ret_end = b->entries[b->sent[range->to - 1]].end;
}

const char *batch_range_trace(const struct batch *b, const struct range *range)
{
	for (size_t i = range->from; i < range->to; i++) {
		if (b->entries[b->sent[i]].trace)
			return b->entries[b->sent[i]].trace;
	}
	return NULL;
}

enum refresh batch_range_refresh(const struct batch *b, const struct range *range)
{
	enum refresh strongest = REFRESH_NO;

	for (size_t i = range->from; i < range->to; i++) {
		enum refresh wanted = b->entries[b->sent[i]].refresh;

		strongest = wanted > strongest ? wanted : strongest;
	}
	return strongest;
}

bool batch_range_has_updates(const struct batch *b, const struct range *range)
{
	if (b->updates == 0)
		return false;
	for (size_t i = range->from; i < range->to; i++) {
		if (b->entries[b->sent[i]].op == OP_UPDATE)
			return true;
	}
	return false;
}

// Where a whole document is among what was merged, nothing is missing.
bool entry_is_read(const struct entry *e)
{
	return e->op == OP_UPDATE && !e->based;
}

size_t batch_range_reads(const struct batch *b, const struct range *range)
{
	size_t count = 0;

	for (size_t i = range->from; b->updates > 0 && i < range->to; i++)
		count += entry_is_read(&b->entries[b->sent[i]]);
	return count;
}
