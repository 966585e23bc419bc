// SPDX-License-Identifier: MIT
// Searches, and for each page a _bulk of deletes, until a search finds nothing left to delete: a copy of a shard that was promoted in
// the middle of one may not have been refreshed. Each delete has the version of the event, as any other delete has that
// of its own: what is newer refuses it, what is older and comes late is refused by it, and a repetition finds nothing left to do.
// Elasticsearch's _delete_by_query knows no such version. Memory holds a page.
#include "cmd/sweep.h"

#include "base/mem.h"
#include "cmd/scroll.h"
#include "cmd/verify.h"
#include "core/verdict.h"
#include "es/bulk.h"
#include "pg/desk.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_HITS "1000"
#define BODY_MAX ((size_t)16 * 1024 * 1024)
#define NAME_MAX_BYTES 256 // of an index
#define CALL_MS 60000      // well below what the event is held for
#define PASSES_MAX 10      // then others have their turn
#define ABSENT_S 30        // an alias that is moved may be gone for a moment

struct pass {
	struct sweep *sweep;
	char *index, *scroll; // scroll NULL = nothing was searched yet
	struct buf body;
	size_t count, sent;      // of deletes in it, in all
	char of[NAME_MAX_BYTES]; // the index that the documents are in; differs from `index` for an alias
	struct err trouble;      // the first of an answer's
	bool more, absent;
};

static void note_answer(struct sweep *s, int status, const char *type)
{
	s->status = status;
	snprintf(s->type, sizeof(s->type), "%.127s", type);
}

static bool note_failure(struct sweep *s, const struct http_reply *reply)
{
	struct bulk_error why = { .type = "" };

	if (reply->fault == HTTP_FINE)
		bulk_error_read(reply->body, reply->len, &why);
	note_answer(s, reply->status, why.type);
	return false;
}

static bool ask(struct sweep *s, const char *path, const char *body, const struct http_reply **ret,
		struct err *e)
{
	return verify_ask_within(s->http, "POST", path, body, CALL_MS, ret, e) || note_failure(s, *ret);
}

static bool refuse(struct sweep *s, int status, const char *type, const char *reason, struct err *e)
{
	note_answer(s, status, type);
	s->refused = true;
	return err_set(e, ERR_DATA, "%s", reason);
}

static bool several(struct sweep *s, struct err *e)
{
	return refuse(
		s, 0, "delete_by_query_invalid",
		"the name is an alias of several indexes: where a document is deleted is not where it was found",
		e);
}

// -- the search

// What a query may ask for is the index's to say, or the cluster's.
static bool is_a_limit(const char *reason)
{
	static const char *const limits[] = { "Keep alive for request (", "Batch size is too large" };

	for (size_t i = 0; i < array_len(limits); i++) {
		if (strncmp(reason, limits[i], strlen(limits[i])) == 0)
			return true;
	}
	return false;
}

// "all shards failed" says less than the cause below it.
static bool refuse_search(struct sweep *s, const struct http_reply *reply, struct err *e)
{
	json_t *answer = json_loads(reply->body, JSON_ALLOW_NUL, NULL);
	const json_t *error = json_object_get(answer, "error");
	const json_t *cause = json_array_get(json_object_get(error, "root_cause"), 0);
	const char *type = json_string_value(json_object_get(cause, "type"));
	const char *reason = json_string_value(json_object_get(cause, "reason"));

	// What no server says of a query, a limit, and a closed index pass.
	if (reason && is_a_limit(reason)) {
		note_answer(s, reply->status, type ? type : "");
		err_set(e, ERR_REFUSED, "the search needs a higher limit: %s", reason);
	} else if (type && strcmp(type, "index_closed_exception") != 0) {
		*e = (struct err){ 0 };
		(void)refuse(s, reply->status, type, reason ? reason : "", e);
	}
	json_decref(answer);
	return false;
}

static bool begin_search(struct pass *p, const struct http_reply **ret, struct err *e)
{
	struct sweep *s = p->sweep;
	auto_free char *path = http_path("/", p->index,
					 "/_search?allow_partial_search_results=false&scroll=" SCROLL_KEEP);
	auto_buf body = { 0 };

	buf_init(&body, BODY_MAX);
	buf_adds(&body,
		 "{\"size\":" PAGE_HITS ",\"sort\":[\"_doc\"],\"_source\":false,\"version\":true,\"query\":");
	buf_add(&body, s->query.p, s->query.n);
	buf_addc(&body, '}');
	if (ask(s, path, buf_str(&body), ret, e))
		return true;
	if ((*ret)->fault == HTTP_TIMED_OUT)
		return err_prefix(e, "a query must have its first page within %d s", CALL_MS / 1000);
	if ((*ret)->fault == HTTP_FINE && (*ret)->status == 400)
		return refuse_search(s, *ret, e);
	return false;
}

static const char *text(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

// A higher version than the table ever drew is no newer event's: its ids went back. As worker_judge.c.
static bool is_drawn(struct sweep *s, int64_t version, struct err *e)
{
	if (s->drawn < 0 || version <= s->drawn || version == s->row.version)
		return true;
	if (!desk_drawn(s->desk, &s->drawn, e))
		return false;
	if (s->drawn < 0 || version <= s->drawn)
		return true;
	s->waits_for = SWEEP_FUTURE;
	return err_set(e, ERR_UNAVAILABLE,
		       "current version [%" PRId64
		       "] of a document is above the highest id that the table ever drew",
		       version);
}

static bool add_hit(struct pass *p, const json_t *hit, struct err *e)
{
	struct sweep *s = p->sweep;
	const json_t *id = json_object_get(hit, "_id");
	const char *index = text(hit, "_index"), *routing = text(hit, "_routing");
	const json_t *version = json_object_get(hit, "_version");
	struct row row = s->row;

	if (!json_is_string(id) || !index || !json_is_integer(version))
		return err_set(e, ERR_UNAVAILABLE, "Elasticsearch answered with a hit that has no version");
	if (*p->of && strcmp(p->of, index) != 0)
		return several(s, e);
	snprintf(p->of, sizeof(p->of), "%.255s", index);
	if (json_integer_value(version) >= row.version) {
		s->newer++;
		return is_drawn(s, json_integer_value(version), e);
	}
	row.document_id = (struct slice){ json_string_value(id), json_string_length(id) };
	row.routing = (struct slice){ routing, routing ? strlen(routing) : 0 };
	p->count++;
	return bulk_append(&p->body, &row, OP_DELETE, s->config->outbox_deletes == DELETES_TOMBSTONE) ||
	       err_set(e, ERR_UNAVAILABLE, "a page of deletes is larger than %zu bytes", BODY_MAX);
}

// A shard that did not answer would be missed without a word.
static bool read_page(struct pass *p, const json_t *answer, struct err *e)
{
	const json_t *hits = json_object_get(json_object_get(answer, "hits"), "hits"), *hit;
	const char *scroll = text(answer, "_scroll_id");
	bool ok = true;
	size_t i;

	if (scroll) {
		free(p->scroll);
		p->scroll = mem_strdup(scroll);
	}
	if (!json_is_array(hits) || !scroll || json_is_true(json_object_get(answer, "timed_out")) ||
	    json_integer_value(json_object_get(json_object_get(answer, "_shards"), "failed")) > 0)
		return err_set(e, ERR_UNAVAILABLE, "Elasticsearch did not answer for the whole index");
	p->more = json_array_size(hits) > 0;
	buf_clear(&p->body);
	p->count = 0;
	json_array_foreach(hits, i, hit)
	{
		ok = ok && add_hit(p, hit, e);
	}
	return ok;
}

static bool next_page(struct pass *p, struct err *e)
{
	const struct http_reply *reply;
	json_t *answer;
	bool ok = p->scroll
			  ? scroll_next(p->sweep->http, p->scroll, &reply, e) || note_failure(p->sweep, reply)
			  : begin_search(p, &reply, e);

	if (!ok)
		return false;
	answer = json_loads(reply->body, JSON_ALLOW_NUL, NULL);
	ok = read_page(p, answer, e);
	json_decref(answer);
	return ok;
}

// -- the deletes

static bool is_of_a_stream(const char *reason)
{
	static const char words[] = "only write ops with an op_type of create";

	return strncmp(reason, words, strlen(words)) == 0;
}

static void note(struct pass *p, const struct bulk_item *item, enum verdict v)
{
	if (v == VERDICT_DEAD || is_of_a_stream(item->reason)) {
		(void)refuse(p->sweep, item->status, item->type, item->reason, &p->trouble);
		return;
	}
	note_answer(p->sweep, item->status, item->type);
	err_set(&p->trouble, ERR_UNAVAILABLE, "a delete was refused for now: HTTP %d %s: %s", item->status,
		item->type, item->reason);
}

static void on_item(void *arg, size_t position, const struct bulk_item *item)
{
	struct pass *p = arg;
	const struct item_facts facts = {
		.status = item->status,
		.op = OP_DELETE,
		.type = item->type,
		.reason = item->reason,
		.alone = true,
	};
	enum verdict v = verdict_item(&facts).verdict;

	(void)position;
	if (v == VERDICT_DONE && item->status == 200)
		p->sweep->deleted++;
	if (p->trouble.kind != ERR_NONE)
		return;
	if (v != VERDICT_DONE && v != VERDICT_SUPERSEDED)
		note(p, item, v);
	else if (strcmp(p->of, p->index) != 0 && strcmp(p->of, item->index) != 0)
		(void)several(p->sweep, &p->trouble); // it is not where it was found
	else if (v == VERDICT_SUPERSEDED &&
		 is_drawn(p->sweep, verdict_conflict_version(item->reason), &p->trouble))
		p->sweep->newer++;
}

static bool delete_page(struct pass *p, struct err *e)
{
	static const char fields[] = "errors%2Citems.%2A._index%2Citems.%2A.status%2Citems.%2A.error.type"
				     "%2Citems.%2A.error.reason";
	enum refresh when = (enum refresh)p->sweep->config->elasticsearch_refresh;
	const struct http_reply *reply;
	char path[256];

	if (p->count == 0)
		return true;
	snprintf(path, sizeof(path), "/_bulk?filter_path=%s&refresh=%s&timeout=%dms", fields,
		 refresh_name(when), CALL_MS / 2);
	p->trouble = (struct err){ 0 };
	p->sent += p->count;
	if (!ask(p->sweep, path, buf_str(&p->body), &reply, e) ||
	    !bulk_decode_whole(reply->body, reply->len, p->count, on_item, p, e)) {
		e->kind = ERR_UNAVAILABLE;
		return false;
	}
	if (p->trouble.kind == ERR_NONE)
		return true;
	*e = p->trouble;
	return false;
}

// -- the pass

// What a copy of a shard did not refresh, the search may not find.
static bool is_refreshed(const struct http_reply *reply, struct err *e)
{
	json_t *answer = json_loads(reply->body, JSON_ALLOW_NUL, NULL);
	const json_t *failed = json_object_get(json_object_get(answer, "_shards"), "failed");
	bool whole = json_is_integer(failed) && json_integer_value(failed) == 0;

	json_decref(answer);
	return whole || err_set(e, ERR_UNAVAILABLE, "Elasticsearch did not refresh the whole index");
}

// An index that is not there has no documents: whoever wrote some before has been heard. Any other 404 is of something else.
static bool refresh(struct pass *p, struct err *e)
{
	auto_free char *path = http_path("/", p->index, "/_refresh");
	const struct http_reply *reply;
	struct bulk_error why = { .type = "" };

	if (ask(p->sweep, path, NULL, &reply, e))
		return is_refreshed(reply, e);
	if (reply->fault == HTTP_FINE && reply->status == 404)
		bulk_error_read(reply->body, reply->len, &why);
	p->absent = strcmp(why.type, "index_not_found_exception") == 0;
	if (p->absent && p->sweep->waited_s < ABSENT_S)
		p->sweep->waits_for = "missing_index";
	if (!p->absent || p->sweep->waits_for)
		return false;
	note_answer(p->sweep, 0, "");
	*e = (struct err){ 0 };
	return true;
}

// *ret_sent = how many deletes.
static bool pass(struct sweep *s, size_t *ret_sent, struct err *e)
{
	struct pass p = { .sweep = s, .index = mem_strndup(s->row.index.p, s->row.index.n), .more = true };
	bool ok;

	buf_init(&p.body, BODY_MAX);
	s->newer = 0;
	ok = sweep_keep(s, e) && refresh(&p, e);
	while (ok && p.more && !p.absent)
		ok = sweep_keep(s, e) && next_page(&p, e) && sweep_keep(s, e) && delete_page(&p, e);
	scroll_end(s->http, p.scroll);
	buf_done(&p.body);
	free(p.index);
	free(p.scroll);
	*ret_sent = p.sent;
	return ok;
}

bool sweep_pass(struct sweep *s, struct err *e)
{
	size_t sent = 0;

	for (int n = 0; n < PASSES_MAX; n++) {
		if (!pass(s, &sent, e))
			return false;
		if (sent == 0)
			return true;
	}
	s->waits_for = "new_documents";
	return err_set(e, ERR_UNAVAILABLE,
		       "somebody without versions writes what the query finds, again and again");
}
