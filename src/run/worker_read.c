// SPDX-License-Identifier: MIT
// Updates: what Elasticsearch has of their documents is read, the parts are merged into it, and the whole is sent as any other
// document is, with the version of its newest event. Elasticsearch's own update would count versions its own way: a repeated
// one would stand above the delete that came after it. See docs/UPDATES.md.
#include "es/bulk.h"
#include "es/mget.h"
#include "run/machine.h"

#include <stdio.h>
#include <string.h>

#define READ_TIMEOUT_MS 10000
// Before the first answer: a guess that is rather too large.
#define DOCUMENT_BYTES 16384
// Elasticsearch 9.2 and later leave vectors out of what they show, unless they are asked not to; older ones refuse to be asked. Those
// are asked again so often, for they may be replaced while we run.
static const char with_vectors[] = "_source_exclude_vectors";
#define PLAIN_READS_MS 60000

static struct slice event_bytes(const struct worker *w, const struct entry *e)
{
	return (struct slice){ w->body.data + e->start, e->end - e->start };
}

void worker_act_read(struct worker *w)
{
	const char *before = "{\"docs\":[{";
	char path[64];

	buf_clear(&w->merged);
	for (size_t p = 0; p < w->range.to - w->range.from; p++) {
		const struct entry *e = batch_entry(w->batch, batch_sent_entry(w->batch, &w->range, p));
		struct slice target;

		if (!entry_is_read(e))
			continue;
		target = bulk_target(event_bytes(w, e));
		buf_adds(&w->merged, before);
		buf_add(&w->merged, target.p, target.n);
		before = "},{";
	}
	buf_adds(&w->merged, "}]}");
	if (clock_boot_ms() < w->relay->plain_reads_ms)
		snprintf(path, sizeof(path), "/_mget");
	else
		snprintf(path, sizeof(path), "/_mget?%s=false", with_vectors);
	http_call_ask(w->call, "POST", path, w->merged.data, READ_TIMEOUT_MS);
}

bool worker_is_too_much_to_read(const struct worker *w)
{
	const struct relay *r = w->relay;
	int64_t each = r->document_bytes > 0 ? r->document_bytes : DOCUMENT_BYTES;

	return w->range.to - w->range.from > 1 &&
	       (int64_t)batch_range_reads(w->batch, &w->range) * each > 2 * r->pace.bytes;
}

// A size that was met once is believed for a while: too few at a time cost a request more, too many cost memory.
static void learn_size(struct relay *r, int64_t bytes)
{
	r->document_bytes = bytes > r->document_bytes ? bytes : (15 * r->document_bytes + bytes) / 16;
}

// -- the documents

// What an item's error says of the index: nothing of it can be read, or there is nothing to read, and whether something can be
// written the write will show. What is in no row is a matter of that document's shard, for now.
static const struct {
	const char *type, *reason;
	enum verdict verdict;
} errors[] = {
	{ "index_not_found_exception", "", VERDICT_DONE },
	{ "routing_missing_exception", "",
	  VERDICT_DEAD }, // a pipeline may give it one: then the document is there
	{ "null_pointer_exception", "type must not be null", VERDICT_DEAD }, // the same in the words of 7.17
	{ "security_exception", "", VERDICT_PAUSE_INDEX },
	{ "index_closed_exception", "", VERDICT_PAUSE_INDEX },
	{ "cluster_block_exception", "", VERDICT_PAUSE_INDEX },
	{ "illegal_argument_exception", "has more than one ind", VERDICT_PAUSE_INDEX }, // an alias
};

static enum verdict verdict_of(const char *type, const char *reason)
{
	for (size_t i = 0; i < array_len(errors); i++) {
		if (strcmp(type, errors[i].type) == 0 && strstr(reason, errors[i].reason))
			return errors[i].verdict;
	}
	return VERDICT_ASIDE;
}

// The updates of the range that are read, in their order.
struct merging {
	struct worker *w;
	size_t at;  // position in the range of what was not appended yet
	bool whole; // nothing had to be left out
};

static void leave_out(struct merging *m, size_t i, enum verdict v, const char *type, const char *reason)
{
	m->whole = false;
	batch_judge(m->w->batch, i, v);
	if (v == VERDICT_PAUSE_INDEX)
		worker_index_fault(m->w, i, type, reason);
	else
		batch_set_trouble(m->w->batch, i, 0, type, reason);
}

static void append_merged(struct merging *m, size_t i, struct slice document)
{
	struct worker *w = m->w;
	const struct entry *e = batch_entry(w->batch, i);

	if (!bulk_merge(&w->merged, event_bytes(w, e), document, e->based))
		leave_out(
			m, i, batch_blame(w->batch, i, VERDICT_DEAD), "document_parsing_exception",
			"its part cannot be merged into the document: that is no valid JSON, or becomes too large");
}

// What lies before the next document that was read.
static void append_until_read(struct merging *m)
{
	struct worker *w = m->w;

	for (; m->at < w->range.to - w->range.from; m->at++) {
		size_t i = batch_sent_entry(w->batch, &w->range, m->at);
		const struct entry *e = batch_entry(w->batch, i);
		struct slice bytes = event_bytes(w, e);

		if (entry_is_read(e))
			return;
		if (e->op == OP_UPDATE)
			append_merged(m, i, (struct slice){ NULL, 0 });
		else
			buf_add(&w->merged, bytes.p, bytes.n);
	}
}

static bool is_tombstone(const struct worker *w, struct slice source)
{
	static const char tombstone[] = "{\"deleted\":true}";

	return w->relay->config->outbox_deletes == DELETES_TOMBSTONE && source.n == strlen(tombstone) &&
	       memcmp(source.p, tombstone, source.n) == 0;
}

static void on_document(void *arg, const struct mget_doc *doc)
{
	struct merging *m = arg;
	size_t i = batch_sent_entry(m->w->batch, &m->w->range, m->at);
	bool there = doc->found && !(doc->source.p && is_tombstone(m->w, doc->source));

	enum verdict v = *doc->type ? verdict_of(doc->type, doc->reason) : VERDICT_DONE;

	if (v != VERDICT_DONE)
		leave_out(m, i, batch_blame(m->w->batch, i, v), doc->type, doc->reason);
	else if (there && !doc->source.p)
		leave_out(m, i, VERDICT_PAUSE_INDEX, "source_disabled",
			  "its mapping keeps no _source, so nothing can be merged into its documents");
	else
		append_merged(m, i, there ? doc->source : (struct slice){ NULL, 0 });
	m->at++;
	append_until_read(m);
}

static bool merge(struct worker *w, const struct http_reply *documents, struct err *e)
{
	struct merging m = { .w = w, .whole = true };

	buf_clear(&w->merged);
	append_until_read(&m);
	if (documents && !mget_read(documents->body, documents->len, batch_range_reads(w->batch, &w->range),
				    on_document, &m, e))
		return false;
	if (!m.whole)
		batch_rest(w->batch, &w->range);
	return m.whole;
}

bool worker_merge(struct worker *w)
{
	struct err never;

	return merge(w, NULL, &never);
}

// An answer that is too large is shorter for fewer documents.
static void too_large(struct worker *w)
{
	struct merging m = { .w = w };

	learn_size(w->relay, (int64_t)HTTP_ANSWER_MAX / (int64_t)batch_range_reads(w->batch, &w->range));

	if (w->range.to - w->range.from > 1)
		batch_split(w->batch, &w->range);
	else
		leave_out(&m, batch_sent_entry(w->batch, &w->range, 0), VERDICT_DEAD, "document_too_large",
			  "the document into which it is to be merged is larger than 64 MB");
}

// Nothing can be read, by Elasticsearch's word or that of whoever stands before it: as if each item said so.
static void refuse_all(struct worker *w, const struct bulk_error *error)
{
	struct merging m = { .w = w };

	for (size_t p = 0; p < w->range.to - w->range.from; p++) {
		size_t i = batch_sent_entry(w->batch, &w->range, p);

		if (entry_is_read(batch_entry(w->batch, i)))
			leave_out(&m, i, VERDICT_PAUSE_INDEX, *error->type ? error->type : "reading_refused",
				  error->reason);
	}
	batch_rest(w->batch, &w->range);
}

// The whole exchange has failed.
static void not_read(struct worker *w, const struct http_reply *reply, struct bulk_error *error)
{
	if (reply->fault == HTTP_TOO_LARGE) {
		too_large(w);
	} else if (reply->status == 403 || reply->status == 404 || reply->status == 405) {
		refuse_all(w, error);
	} else if (reply->status == 400 && strstr(error->reason, with_vectors)) {
		w->relay->plain_reads_ms = clock_boot_ms() + PLAIN_READS_MS;
		batch_rest(w->batch, &w->range);
	} else {
		if (reply->fault == HTTP_TIMED_OUT)
			pace_fewer_rows(&w->relay->pace);
		worker_request_failed(w, reply, error);
	}
}

void worker_on_documents(struct worker *w, const struct http_reply *reply)
{
	size_t reads = batch_range_reads(w->batch, &w->range);
	struct bulk_error error = { .type = "", .reason = "" };
	struct err unreadable = { 0 };
	bool answered = reply->fault == HTTP_FINE && reply->status == 200;

	if (reply->fault == HTTP_FINE && !answered)
		bulk_error_read(reply->body, reply->len, &error);
	if (!answered) {
		not_read(w, reply, &error);
	} else if (merge(w, reply, &unreadable)) {
		learn_size(w->relay, (int64_t)(reply->len / reads));
		if (worker_may_begin(w)) {
			worker_dispatch(w, E_SEND);
			return;
		}
	} else if (unreadable.kind != ERR_NONE) {
		snprintf(error.reason, sizeof(error.reason), "%.500s", unreadable.text);
		worker_request_failed(w, reply, &error);
	}
	worker_dispatch(w, worker_next(w));
}
