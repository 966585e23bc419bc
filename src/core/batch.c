// SPDX-License-Identifier: MIT
#include "core/batch.h"

#include "base/mem.h"
#include "base/parse.h"

#include <assert.h>
#include <string.h>

// uthash would exit() when memory is gone; ours aborts like everything else.
#define uthash_malloc(size) mem_calloc(1, size)
#include <uthash.h>

#define TRACE_MAX 256

struct document {
	UT_hash_handle hh;
	int32_t last;    // its newest entry so far
	int32_t carrier; // the entry that got bytes last; -1 = none
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
	size_t fates[FATE_COUNT_];
};

// Index name (<= 255 bytes) and id (<= 512 bytes) passed row_check.
#define KEY_MAX 1024
// A reason may quote a whole value of the document.
#define REASON_MAX 4000

const char *fate_name(enum fate f)
{
	static const char *const names[FATE_COUNT_] = {
		[FATE_RETURNED] = "returned",     [FATE_DELIVERED] = "delivered",
		[FATE_SUPERSEDED] = "superseded", [FATE_DEAD] = "dead",
		[FATE_WAITING] = "waiting",
	};
	return names[f];
}

struct batch *batch_new(void)
{
	struct batch *b = mem_calloc(1, sizeof(*b));

	buf_init(&b->key, KEY_MAX);
	return b;
}

void batch_reset(struct batch *b)
{
	struct document *d = b->documents, *next;

	// The list goes first (HASH_CLEAR frees the table and leaves the elements alone).
	struct document *head = d;
	HASH_CLEAR(hh, b->documents);
	for (d = head; d; d = next) {
		next = d->hh.next;
		free(d);
	}
	for (size_t i = 0; i < b->count; i++)
		free(b->entries[i].trace);
	for (size_t i = 0; i < b->trouble_count; i++) {
		free(b->troubles[i].type);
		free(b->troubles[i].reason);
	}
	b->trouble_count = b->count = b->sent_count = b->range_count = b->body_first = b->live_bytes = 0;
	memset(b->fates, 0, sizeof(b->fates));
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	batch_reset(b);
	buf_done(&b->key);
	free(b->entries);
	free(b->sent);
	free(b->ranges);
	free(b->troubles);
	free(b);
}

size_t batch_count(const struct batch *b)
{
	return b->count;
}

const struct entry *batch_entry(const struct batch *b, size_t i)
{
	assert(i < b->count);
	return &b->entries[i];
}

struct slice batch_index(const struct batch *b, size_t i)
{
	const struct document *d = batch_entry(b, i)->document;

	return d ? (struct slice){ d->text, d->index_len } : (struct slice){ NULL, 0 };
}

struct slice batch_document_id(const struct batch *b, size_t i)
{
	const struct document *d = batch_entry(b, i)->document;

	return d ? (struct slice){ d->text + d->index_len + 1, d->id_len } : (struct slice){ NULL, 0 };
}

const struct trouble *batch_trouble(const struct batch *b, size_t i)
{
	int32_t n = batch_entry(b, i)->trouble;

	return n < 0 ? NULL : &b->troubles[n];
}

// Makes room for one more element of an array that doubles.
static void *grow(void *array, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 64;
	return mem_realloc(array, *cap, size);
}

static struct document *find_document(struct batch *b, const struct row *row)
{
	struct document *d;

	buf_clear(&b->key);
	buf_add(&b->key, row->index.p, row->index.n);
	buf_addc(&b->key, '\0');
	buf_add(&b->key, row->document_id.p, row->document_id.n);
	assert(!b->key.full);
	HASH_FIND(hh, b->documents, b->key.data, b->key.len, d);
	if (d)
		return d;
	d = mem_calloc(1, sizeof(*d) + b->key.len);
	memcpy(d->text, b->key.data, b->key.len);
	d->last = d->carrier = -1;
	d->index_len = (uint32_t)row->index.n;
	d->id_len = (uint32_t)row->document_id.n;
	HASH_ADD_KEYPTR(hh, b->documents, d->text, b->key.len, d);
	return d;
}

// It becomes part of a header and of log lines: what is not printable, or endless, is no trace.
static char *trace_of(struct slice text)
{
	if (!text.p || text.n == 0 || text.n > TRACE_MAX)
		return NULL;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < 0x21 || text.p[i] > 0x7e)
			return NULL;
	}
	return mem_strndup(text.p, text.n);
}

static struct entry *new_entry(struct batch *b, const struct row *row)
{
	struct entry *e;

	b->entries = grow(b->entries, b->count, &b->cap, sizeof(*b->entries));
	e = &b->entries[b->count++];
	*e = (struct entry){
		.tid = row->tid,
		.lane = row->lane,
		.attempts = row->attempts,
		.newer = -1,
		.trouble = -1,
		.verdict = VERDICT_NONE,
		.id = row->id,
		.created_us = row->created_us,
		.trace = trace_of(row->trace),
	};
	return e;
}

static bool is_full_document(enum op op)
{
	return op == OP_INDEX || op == OP_DELETE;
}

// What is still in the body makes room for the newest. (An entry of an earlier body has no bytes any more.)
static void drop_bytes(struct batch *b, int32_t carrier)
{
	struct entry *e = carrier < 0 ? NULL : &b->entries[carrier];

	if (!e)
		return;
	b->live_bytes -= e->end - e->start;
	e->end = e->start;
}

// What is not yet accepted stands in the way of a younger event that does not carry the whole document.
static bool is_accepted(const struct entry *e)
{
	return e->verdict == VERDICT_DONE || e->verdict == VERDICT_SUPERSEDED;
}

size_t batch_add(struct batch *b, const struct row *row, enum op op, bool *ret_held)
{
	struct document *d = find_document(b, row);
	struct entry *e = new_entry(b, row);
	size_t number = b->count - 1;

	e->op = op;
	e->refresh = row_refresh(row);
	e->document = d;
	*ret_held = false;
	if (d->last >= 0) {
		struct entry *older = &b->entries[d->last];

		if (is_full_document(op)) {
			older->newer = (int32_t)number;
			// Whoever wants to find the older one finds it in this one.
			if (!is_accepted(older) && older->refresh > e->refresh)
				e->refresh = older->refresh;
			drop_bytes(b, d->carrier);
		} else if (!is_accepted(older)) {
			// A full document that follows settles the whole chain.
			older->newer = (int32_t)number;
			*ret_held = true;
		}
	}
	d->last = (int32_t)number;
	return number;
}

size_t batch_add_refused(struct batch *b, const struct row *row, const struct refusal *why)
{
	size_t number = b->count;
	// Where the document is known, a newer event of it settles this one, now or when it lies dead.
	bool known = row->index.n > 0 && row->document_id.n > 0 &&
		     row->index.n + row->document_id.n < KEY_MAX;
	struct document *d = known ? find_document(b, row) : NULL;

	new_entry(b, row)->document = d;
	if (d) {
		// As for an event that is held: a full document that follows settles what is older, too.
		if (d->last >= 0 && !is_accepted(&b->entries[d->last]))
			b->entries[d->last].newer = (int32_t)number;
		d->last = (int32_t)number;
	}
	batch_judge(b, number, VERDICT_DEAD);
	batch_set_trouble(b, number, 0, why->type, why->reason);
	return number;
}

void batch_set_bytes(struct batch *b, size_t i, size_t start, size_t end)
{
	assert(i + 1 == b->count && start < end);
	b->entries[i].document->carrier = (int32_t)i;
	b->entries[i].start = start;
	b->entries[i].end = end;
	b->live_bytes += end - start;
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
	b->ranges = grow(b->ranges, b->range_count, &b->range_cap, sizeof(*b->ranges));
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
		b->sent = grow(b->sent, b->sent_count, &b->sent_cap, sizeof(*b->sent));
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

void batch_judge(struct batch *b, size_t i, enum verdict v)
{
	assert(i < b->count);
	b->entries[i].verdict = v;
}

void batch_set_answered(struct batch *b, size_t i, int64_t at_us)
{
	assert(i < b->count);
	b->entries[i].answered_us = at_us;
}

void batch_set_conflict(struct batch *b, size_t i, int64_t version)
{
	assert(i < b->count);
	b->entries[i].conflict = version;
}

void batch_set_trouble(struct batch *b, size_t i, int status, const char *type, const char *reason)
{
	struct trouble *t;

	assert(i < b->count && b->entries[i].trouble < 0);
	b->troubles = grow(b->troubles, b->trouble_count, &b->trouble_cap, sizeof(*b->troubles));
	t = &b->troubles[b->trouble_count];
	*t = (struct trouble){
		.status = status,
		.type = mem_strdup(type),
		.reason = mem_strndup(reason, utf8_cut(reason, REASON_MAX)),
	};
	b->entries[i].trouble = (int32_t)b->trouble_count++;
}

static enum fate own_fate(const struct entry *e, int64_t max_attempts)
{
	switch (e->verdict) {
	case VERDICT_DONE:
		return FATE_DELIVERED;
	case VERDICT_SUPERSEDED:
		return FATE_SUPERSEDED;
	case VERDICT_DEAD:
		return FATE_DEAD;
	case VERDICT_ATTEMPT:
		return (int64_t)e->attempts + 1 >= max_attempts ? FATE_DEAD : FATE_WAITING;
	case VERDICT_FUTURE:
	case VERDICT_ASIDE:
		return FATE_WAITING;
	case VERDICT_NONE:
	case VERDICT_RETRY_ITEM:
	case VERDICT_RETRY_REQUEST:
	case VERDICT_SERVER:
	case VERDICT_PAUSE_INDEX:
	case VERDICT_PAUSE_ALL:
	case VERDICT_SPLIT:
	case VERDICT_SOLO:
	case VERDICT_COUNT_:
		return FATE_RETURNED;
	}
	return FATE_RETURNED;
}

void batch_resolve(struct batch *b, int64_t max_attempts)
{
	memset(b->fates, 0, sizeof(b->fates));
	// From the youngest to the oldest, so that a chain of replacements is known from its end.
	for (size_t i = b->count; i-- > 0;) {
		struct entry *e = &b->entries[i];
		enum fate newer = e->newer < 0 ? FATE_RETURNED : b->entries[e->newer].fate;

		e->fate = own_fate(e, max_attempts);
		if (e->fate != FATE_DELIVERED && (newer == FATE_DELIVERED || newer == FATE_SUPERSEDED))
			e->fate = FATE_SUPERSEDED;
		b->fates[e->fate]++;
	}
}

size_t batch_fates(const struct batch *b, enum fate f)
{
	return b->fates[f];
}
