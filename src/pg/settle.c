// SPDX-License-Identifier: MIT
#include "pg/settle.h"

#include "base/mem.h"
#include "core/backoff.h"
#include "pg/value.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

// What waits without blame waits for somebody to raise the sequence, or for others to be tried before it: so long at least.
#define OTHERS_FIRST_MS 3000
// Whoever carries out a query says at once when it comes due. If nobody does, it is met again.
#define QUERY_MS 30000
// An event that waits for an older one of its document looks again after so long.
#define BEHIND_DUE_MS 200
#define BEHIND_DEAD_MS 300000

static bool is_marked(const struct batch *b, const struct entry *e)
{
	(void)b;
	return e->fate == FATE_DELIVERED || e->fate == FATE_SUPERSEDED;
}

static bool is_parked(const struct batch *b, const struct entry *e)
{
	(void)b;
	return e->fate == FATE_DEAD || e->fate == FATE_WAITING;
}

// Rows of a partitioned table have no tid: what tells them apart is the id.
static bool is_by_id(const struct batch *b)
{
	return batch_count(b) > 0 && batch_entry(b, 0)->tid.offset == 0;
}

static void add_row(struct buf *out, const struct entry *e)
{
	if (e->tid.offset)
		array_add_tid(out, e->tid);
	else
		array_add_int8(out, e->id);
}

static void add_tids(const struct batch *b, struct buf *out,
		     bool (*chosen)(const struct batch *, const struct entry *), size_t count)
{
	array_begin(out, is_by_id(b) ? ARRAY_INT8 : ARRAY_TID, (int32_t)count);
	for (size_t i = 0; i < batch_count(b); i++) {
		const struct entry *e = batch_entry(b, i);

		if (chosen(b, e))
			add_row(out, e);
	}
}

void settle_marks(const struct batch *b, struct buf *ret_tids)
{
	add_tids(b, ret_tids, is_marked, batch_fates(b, FATE_DELIVERED) + batch_fates(b, FATE_SUPERSEDED));
}

void settle_parks(const struct batch *b, struct buf *ret_tids)
{
	add_tids(b, ret_tids, is_parked, batch_fates(b, FATE_DEAD) + batch_fates(b, FATE_WAITING));
}

// jsonb refuses \u0000, jansson invalid UTF-8; a reason that quotes such a thing must not stop the settlement.
// Bytes below `least` become spaces.
static json_t *text(const char *p, size_t n, unsigned char least)
{
	json_t *value = NULL;
	char *copy = mem_calloc(n, 1);

	for (size_t i = 0; i < n; i++)
		copy[i] = (unsigned char)p[i] < least ? ' ' : p[i];
	value = json_stringn(copy, n);
	free(copy);
	return value ? value : json_string("(not valid UTF-8)");
}

static json_t *prose(const char *p)
{
	return text(p, strlen(p), 0x20);
}

// Names and ids are compared in SQL: "a\nb" and "a b" are two documents.
static json_t *exact_or_null(struct slice s)
{
	return s.p ? text(s.p, s.n, 1) : json_null();
}

static json_t *tid_text(const struct entry *e)
{
	char tid[32];

	if (!e->tid.offset)
		return json_integer(e->id);
	snprintf(tid, sizeof(tid), "(%u,%u)", e->tid.block, e->tid.offset);
	return json_string(tid);
}

static int64_t others_first(const struct retry_pace *pace)
{
	return pace->cap_ms > OTHERS_FIRST_MS ? pace->cap_ms : OTHERS_FIRST_MS;
}

static int64_t between(int64_t low, int64_t n, int64_t high)
{
	return n < low ? low : n > high ? high : n;
}

// With the older one, when that is to be tried again; soon, when that is due and was not claimed; ever less often behind a dead one,
// behind which there can be any number.
static int64_t wait_behind(const struct entry *e, const struct retry_pace *pace)
{
	int64_t first = others_first(pace), last = first > BEHIND_DEAD_MS ? first : BEHIND_DEAD_MS;

	if (e->older_wait_ms > 0)
		return between(1, e->older_wait_ms, last);
	if (e->older_wait_ms == 0)
		return between(BEHIND_DUE_MS, 2 * e->waited_ms, first);
	return between(first, 2 * e->waited_ms, last);
}

static json_t *error_json(const struct batch *b, size_t i, json_t *wait)
{
	const struct entry *e = batch_entry(b, i);
	const struct trouble *t = batch_trouble(b, i);
	json_t *error = json_object();

	if (t) {
		json_object_set_new(error, "type", prose(t->type));
		json_object_set_new(error, "reason", prose(t->reason));
		json_object_set_new(error, "status", t->status ? json_integer(t->status) : json_null());
	}
	if (e->behind && !json_is_null(wait))
		json_object_set(error, "wait_ms", wait);
	json_object_set_new(error, "attempt", json_integer((json_int_t)e->attempts + 1));
	if (e->trace)
		json_object_set_new(error, "trace", json_string(e->trace));
	json_object_set_new(error, "index", exact_or_null(batch_index(b, i)));
	json_object_set_new(error, "id", exact_or_null(batch_document_id(b, i)));
	return error;
}

static json_t *trouble_json(const struct batch *b, size_t i, const struct retry_pace *pace)
{
	const struct entry *e = batch_entry(b, i);
	const struct trouble *t = batch_trouble(b, i);
	json_t *wait = json_null(), *row = json_object();
	bool counted = e->verdict != VERDICT_FUTURE && e->verdict != VERDICT_ASIDE;

	if (e->fate == FATE_WAITING && e->behind)
		wait = json_integer(wait_behind(e, pace));
	else if (e->fate == FATE_WAITING && e->query)
		wait = json_integer(between(0, others_first(pace), QUERY_MS));
	else if (e->fate == FATE_WAITING && e->verdict == VERDICT_ASIDE)
		wait = json_integer(others_first(pace));
	else if (e->fate == FATE_WAITING && (!counted || (t && t->status >= 500)))
		wait = json_integer(pace->cap_ms); // if it is the server after all, it shall have time
	else if (e->fate == FATE_WAITING)
		wait = json_integer(backoff_after(pace->base_ms, pace->cap_ms, e->attempts, pace->rng));
	json_object_set_new(row, "tid", tid_text(e));
	json_object_set_new(row, "counted", json_integer(counted));
	// What a query waits for, whoever carries it out has noted there.
	if (!e->query || e->fate == FATE_DEAD)
		json_object_set_new(row, "error", error_json(b, i, wait));
	json_object_set_new(row, "wait_ms", wait);
	return row;
}

char *settle_troubles(const struct batch *b, const struct retry_pace *pace)
{
	json_t *list = json_array();
	char *out;

	for (size_t i = 0; i < batch_count(b); i++) {
		if (is_parked(b, batch_entry(b, i)))
			json_array_append_new(list, trouble_json(b, i, pace));
	}
	out = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return out ? out : mem_strdup("[]");
}

static bool has_marked_newer(const struct batch *b, const struct entry *e)
{
	return e->newer >= 0 && is_marked(b, batch_entry(b, (size_t)e->newer));
}

// What hangs on a conflict shares its look: if that is not believed, nothing of the document was delivered.
static bool is_conflict(const struct batch *b, const struct entry *e)
{
	const struct entry *last = batch_entry(b, (size_t)e->settled_by);

	return e->fate == FATE_SUPERSEDED && last->fate == FATE_SUPERSEDED &&
	       last->verdict == VERDICT_SUPERSEDED && last->conflict > 0;
}

char *settle_conflicts(const struct batch *b, struct buf *ret_tids)
{
	json_t *list = json_array();
	char *out = NULL;

	for (size_t i = 0; i < batch_count(b); i++) {
		const struct entry *e = batch_entry(b, i);
		json_t *row;

		if (!is_conflict(b, e))
			continue;
		row = json_object();
		json_object_set_new(row, "tid", tid_text(e));
		json_object_set_new(row, "version",
				    json_integer(batch_entry(b, (size_t)e->settled_by)->conflict));
		json_object_set_new(row, "index", exact_or_null(batch_index(b, i)));
		json_object_set_new(row, "id", exact_or_null(batch_document_id(b, i)));
		json_array_append_new(list, row);
	}
	if (json_array_size(list) > 0) {
		out = json_dumps(list, JSON_COMPACT);
		add_tids(b, ret_tids, is_conflict, json_array_size(list));
	}
	json_decref(list);
	return out;
}

// A part, or what was only new, says nothing of what is older.
static bool is_whole(const struct entry *e)
{
	return e->op == OP_INDEX || e->op == OP_DELETE;
}

// Is it the newest whole document that was accepted? That settles what is older than itself.
static bool is_newest_whole(const struct batch *b, const struct entry *e)
{
	if (!is_marked(b, e) || !is_whole(e))
		return false;
	while (has_marked_newer(b, e)) {
		e = batch_entry(b, (size_t)e->newer);
		if (is_whole(e))
			return false;
	}
	return true;
}

char *settle_keys(const struct batch *b)
{
	json_t *list = json_array();
	char *out = NULL;

	for (size_t i = 0; i < batch_count(b); i++) {
		const struct entry *e = batch_entry(b, i);

		if (!is_newest_whole(b, e))
			continue;
		json_t *key = json_object();

		json_object_set_new(key, "tid", tid_text(e));
		json_object_set_new(key, "index", exact_or_null(batch_index(b, i)));
		json_object_set_new(key, "id", exact_or_null(batch_document_id(b, i)));
		json_object_set_new(key, "event", json_integer(e->id));
		json_array_append_new(list, key);
	}
	if (json_array_size(list) > 0)
		out = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return out;
}
