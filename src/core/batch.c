// SPDX-License-Identifier: MIT
#include "batch_inside.h"

#include "base/mem.h"
#include "base/parse.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define TRACE_MAX 256
#define ENTRIES_KEPT 4096
// So many parts are merged into one document before it is sent.
#define PARTS_MAX 64

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
	// A batch of very many small events is rare, and its memory would be kept for ever.
	if (b->cap > ENTRIES_KEPT) {
		free(b->entries);
		b->entries = NULL;
		b->cap = 0;
	}
	b->trouble_count = b->count = b->sent_count = b->range_count = b->body_first = b->live_bytes =
		b->updates = 0;
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

	return d && d->id_len > 0 ? (struct slice){ d->text + d->index_len + 1, d->id_len }
				  : (struct slice){ NULL, 0 };
}

const struct trouble *batch_trouble(const struct batch *b, size_t i)
{
	int32_t n = batch_entry(b, i)->trouble;

	return n < 0 ? NULL : &b->troubles[n];
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
	d->whole_id = INT64_MIN;
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

// FNV-1a.
static uint64_t hashed(uint64_t hash, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		hash = (hash ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
	return (hash ^ 0xff) * UINT64_C(0x100000001b3); // no text has that byte
}

static uint64_t way_of(const struct row *row)
{
	if (row->routing.n == 0 && row->pipeline.n == 0)
		return 0;
	return hashed(hashed(UINT64_C(0xcbf29ce484222325), row->routing), row->pipeline);
}

static struct entry *new_entry(struct batch *b, const struct row *row)
{
	struct entry *e;

	b->entries = batch_grow(b->entries, b->count, &b->cap, sizeof(*b->entries));
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
		.way = way_of(row),
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

// Is the newest event of the document in the body, so that an update can take it up?
// The request has one routing and one pipeline for both.
static bool may_carry(const struct batch *b, const struct document *d, uint64_t way)
{
	const struct entry *older = &b->entries[d->last];

	return d->last == d->carrier && older->start < older->end && older->op != OP_CREATE &&
	       older->parts < PARTS_MAX && older->way == way;
}

// An update must not pass what is older and was refused: that may come after all. What the claim has of it is in its chain.
static bool is_behind(struct document *d, const struct row *row)
{
	if (!d->behind && row->is_behind && row->behind > d->whole_id &&
	    !(d->refused && d->refused_id == row->behind)) {
		d->behind = true;
		d->older = row->behind;
		d->older_wait_ms = row->behind_wait_ms;
	}
	return d->behind;
}

static void wait_behind(struct batch *b, size_t number, const struct row *row)
{
	struct entry *e = &b->entries[number];
	char reason[128];

	snprintf(reason, sizeof(reason),
		 "event %lld of this document is not delivered yet, see `outboxd dead`",
		 (long long)e->document->older);
	e->behind = true;
	e->older_wait_ms = e->document->older_wait_ms;
	e->waited_ms = row->waited_ms;
	batch_judge(b, number, VERDICT_ASIDE);
	batch_set_trouble(b, number, 0, "waits_for_an_older_event", reason);
}

// What the document's later events of this claim have to know of this one.
static void remember(struct document *d, const struct row *row, enum op op)
{
	if (is_full_document(op)) {
		d->whole_id = row->id;
		d->behind = false;
	}
	if (row->refused && op != OP_CREATE) { // what is behind that one was not asked for
		d->refused = true;
		d->refused_id = row->id;
	}
}

const struct entry *batch_carried(const struct batch *b, size_t i)
{
	const struct document *d = b->entries[i].document;
	const struct entry *older = d->carrier < 0 ? NULL : &b->entries[d->carrier];

	return older && older->newer == (int32_t)i && older->start < older->end ? older : NULL;
}

size_t batch_add(struct batch *b, const struct row *row, enum op op, bool *ret_held)
{
	struct document *d = find_document(b, row);
	struct entry *e = new_entry(b, row);
	size_t number = b->count - 1;

	e->op = op;
	b->updates += op == OP_UPDATE;
	e->refresh = row_refresh(row);
	e->document = d;
	*ret_held = op == OP_UPDATE && is_behind(d, row);
	if (d->last >= 0) {
		struct entry *older = &b->entries[d->last];

		if (is_full_document(op) || (op == OP_UPDATE && !*ret_held && may_carry(b, d, e->way))) {
			older->newer = (int32_t)number;
			// Whoever wants to find the older one finds it in this one.
			if (!is_accepted(older) && older->refresh > e->refresh)
				e->refresh = older->refresh;
			if (op != OP_UPDATE) // that one takes them up first
				drop_bytes(b, d->carrier);
		} else if (!is_accepted(older)) {
			// A full document that follows settles the whole chain.
			older->newer = (int32_t)number;
			*ret_held = true;
		}
	}
	d->last = (int32_t)number;
	if (op == OP_UPDATE && d->behind)
		wait_behind(b, number, row);
	remember(d, row, op);
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

void batch_add_query(struct batch *b, const struct row *row, const struct refusal *why)
{
	struct row of_index = *row;
	size_t number = b->count;

	// No document has an empty id: so none settles it.
	of_index.document_id = (struct slice){ "", 0 };
	new_entry(b, row)->query = true;
	if (row->index.n > 0 && row->index.n < KEY_MAX)
		b->entries[number].document = find_document(b, &of_index);
	batch_judge(b, number, why ? VERDICT_DEAD : VERDICT_ASIDE);
	if (why)
		batch_set_trouble(b, number, 0, why->type, why->reason);
}

void batch_set_bytes(struct batch *b, size_t i, size_t start, size_t end)
{
	struct entry *e = &b->entries[i];
	const struct entry *carried = e->op == OP_UPDATE ? batch_carried(b, i) : NULL;

	assert(i + 1 == b->count && start < end);
	e->parts = (uint16_t)(carried ? carried->parts + 1 : 1);
	e->based = carried && (carried->op != OP_UPDATE || carried->based);
	drop_bytes(b, e->document->carrier);
	e->document->carrier = (int32_t)i;
	e->start = start;
	e->end = end;
	b->live_bytes += end - start;
}

void batch_judge(struct batch *b, size_t i, enum verdict v)
{
	assert(i < b->count);
	b->entries[i].verdict = v;
}

enum verdict batch_blame(const struct batch *b, size_t i, enum verdict v)
{
	bool blames = v == VERDICT_DEAD || v == VERDICT_ATTEMPT;

	return blames && b->entries[i].op == OP_UPDATE && b->entries[i].parts > 1 ? VERDICT_ASIDE : v;
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
	b->troubles = batch_grow(b->troubles, b->trouble_count, &b->trouble_cap, sizeof(*b->troubles));
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
	b->uncounted = 0;
	// From the youngest to the oldest, so that a chain of replacements is known from its end.
	for (size_t i = b->count; i-- > 0;) {
		struct entry *e = &b->entries[i];
		enum fate newer = e->newer < 0 ? FATE_RETURNED : b->entries[e->newer].fate;
		bool replaced = newer == FATE_DELIVERED || newer == FATE_SUPERSEDED;

		e->fate = own_fate(e, max_attempts);
		if (e->fate != FATE_DELIVERED && replaced)
			e->fate = FATE_SUPERSEDED;
		e->settled_by = replaced ? b->entries[e->newer].settled_by : (int32_t)i;
		b->fates[e->fate]++;
		b->uncounted += e->fate == FATE_WAITING && e->verdict != VERDICT_ATTEMPT;
	}
}

size_t batch_uncounted(const struct batch *b)
{
	return b->uncounted;
}

size_t batch_fates(const struct batch *b, enum fate f)
{
	return b->fates[f];
}
