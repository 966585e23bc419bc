// SPDX-License-Identifier: MIT
// What the items of an answer mean for their events, and for their indexes.
#include "es/bulk.h"
#include "run/machine.h"

#include <stdio.h>
#include <string.h>

// All items of an answer may have a long one.
#define SERVER_REASONS_MAX 64
// An answer that took so long waited for a shard.
#define LONG_US 1000000

// Its name among the paused ones: what cannot be read and what cannot be written are two things.
static int paused_name(char *out, size_t cap, bool reading, struct slice index)
{
	return snprintf(out, cap, "%s%.*s", reading ? PAUSED_FOR_READING : "", (int)index.n, index.p);
}

// When there is no room left to wait for each index on its own, all wait for a moment.
void worker_index_fault(struct worker *w, size_t entry, const char *type, const char *reason)
{
	char name[PAUSED_NAME_MAX];

	(void)paused_name(name, sizeof(name), w->state == W_READING, batch_index(w->batch, entry));
	if (!relay_index_at_fault(w->relay, name, type, reason))
		w->impatient = true;
}

static void resume(struct worker *w, bool reading, struct slice index)
{
	char name[PAUSED_NAME_MAX];
	int n = paused_name(name, sizeof(name), reading, index);
	struct circuit was;

	if (paused_remove(&w->relay->paused, name, (size_t)n, &was))
		relay_index_works(w->relay, name, &was);
}

static void index_works(struct worker *w, size_t entry)
{
	struct slice index = batch_index(w->batch, entry);

	// A delete goes through no pipeline, so it says nothing of documents that do.
	if (w->relay->suspects.waiting > 0 && batch_entry(w->batch, entry)->op != OP_DELETE)
		suspects_index_works(&w->relay->suspects, index);
	resume(w, false, index);
	if (entry_is_read(batch_entry(w->batch, entry)))
		resume(w, true, index);
}

// "Something newer is there" is only believed of a version that this table did draw; whether it drew it for this document
// is asked when the batch is settled.
static bool is_from_the_future(struct worker *w, size_t entry, const char *reason)
{
	int64_t version = verdict_conflict_version(reason);

	if (w->drawn == 0 || version < 0)
		return false; // versions that are no ids of ours
	if (version <= w->drawn) {
		batch_set_conflict(w->batch, entry, version);
		return false;
	}
	relay_future(w->relay, batch_entry(w->batch, entry)->id, version, w->drawn);
	return true;
}

// Everything that one item of an answer may mean.
void worker_judge_item(void *arg, size_t position, const struct bulk_item *item)
{
	struct worker *w = arg;
	size_t entry = batch_sent_entry(w->batch, &w->range, position);
	const struct item_facts facts = {
		.status = item->status,
		.op = batch_entry(w->batch, entry)->op,
		.type = item->type,
		.reason = item->reason,
		.alone = w->range.to - w->range.from == 1,
	};
	struct judgement j = verdict_item(&facts);

	w->slow = w->slow || j.slow;
	if (j.verdict == VERDICT_SOLO) {
		batch_solo(w->batch, &w->range, position);
		return;
	}
	if (j.verdict == VERDICT_SUPERSEDED && is_from_the_future(w, entry, item->reason))
		j.verdict = VERDICT_FUTURE;
	j.verdict = batch_blame(w->batch, entry, j.verdict);
	batch_judge(w->batch, entry, j.verdict);
	if (j.verdict == VERDICT_DONE || j.verdict == VERDICT_SUPERSEDED) {
		w->accepted_any = true;
		batch_set_answered(w->batch, entry, w->answered_us);
		if (w->relay->paused.count > 0 || w->relay->suspects.waiting > 0)
			index_works(w, entry);
	} else if (j.verdict == VERDICT_FUTURE) {
		batch_set_trouble(w->batch, entry, item->status, "version_from_the_future", item->reason);
	} else if (j.verdict == VERDICT_DEAD || j.verdict == VERDICT_ASIDE || j.verdict == VERDICT_ATTEMPT) {
		batch_set_trouble(w->batch, entry, item->status, item->type, item->reason);
	} else if (j.verdict == VERDICT_SERVER) {
		// All items of an answer can have one, and a long one.
		batch_set_trouble(w->batch, entry, item->status, item->type,
				  w->server_errors++ < SERVER_REASONS_MAX ? item->reason : "");
	} else if (j.verdict == VERDICT_PAUSE_INDEX) {
		worker_index_fault(w, entry, item->type, item->reason);
	} else {
		w->impatient = w->busy = true;
	}
}

static bool same(struct slice a, struct slice b)
{
	return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

// Was any document of this index accepted by the same answer? (A delete goes through no pipeline.)
static bool accepted_with(const struct worker *w, struct slice index)
{
	for (size_t p = 0; p < w->range.to - w->range.from; p++) {
		size_t entry = batch_sent_entry(w->batch, &w->range, p);
		const struct entry *e = batch_entry(w->batch, entry);

		if ((e->verdict == VERDICT_DONE || e->verdict == VERDICT_SUPERSEDED) && e->op != OP_DELETE &&
		    same(batch_index(w->batch, entry), index))
			return true;
	}
	return false;
}

// Does it speak of a shard or node, and not of the document?
static bool is_of_a_shard(const struct trouble *t)
{
	static const char *const types[] = { "node_",        "shard_",    "engine_",  "i_o_",
					     "unavailable_", "no_shard_", "primary_", "receive_timeout_" };

	for (size_t i = 0; i < array_len(types); i++) {
		if (strncmp(t->type, types[i], strlen(types[i])) == 0)
			return true;
	}
	return t->status == 503;
}

// What of a server error may be logged: of a shard that is away what comes before its time-out, behind which Elasticsearch (and not
// OpenSearch) has the request, which quotes the documents; of others, such as a failing pipeline's, nothing.
static void describe_server_error(const struct trouble *t, char *out, size_t cap)
{
	const char *timeout = strstr(t->reason, "Timeout: [");
	const char *end = timeout ? strchr(timeout, ']') : NULL;

	if (strcmp(t->type, "unavailable_shards_exception") == 0 && end)
		snprintf(out, cap, "%.*s", (int)(end + 1 - t->reason), t->reason);
	else
		snprintf(out, cap,
			 "a server error; its words may quote documents, and are in the server's log");
}

static void pause_for(struct worker *w, size_t entry)
{
	const struct trouble *t = batch_trouble(w->batch, entry);
	char reason[512];

	describe_server_error(t, reason, sizeof(reason));
	worker_index_fault(w, entry, t->type, reason);
}

// All items are known: are the events to blame that met a server error, or their index? If the index works, it is the
// event: its document (an attempt is counted, and an end comes), or its shard (nobody's fault, but its index must not wait
// with it; except when the answer itself waited for that shard, which held up all).
void worker_judge_server_errors(struct worker *w, int64_t took_us)
{
	struct slice known = { 0 };
	bool works = false, shard;

	for (size_t p = 0; w->server_errors > 0 && p < w->range.to - w->range.from; p++) {
		size_t entry = batch_sent_entry(w->batch, &w->range, p);
		const struct entry *e = batch_entry(w->batch, entry);
		struct slice index = batch_index(w->batch, entry);

		if (e->verdict != VERDICT_SERVER)
			continue;
		if (!known.p || !same(known, index)) {
			known = index;
			works = accepted_with(w, index);
		}
		shard = is_of_a_shard(batch_trouble(w->batch, entry));
		if ((shard && took_us > LONG_US) ||
		    !(works || suspects_again(&w->relay->suspects, e->id, index, &w->relay->rng)))
			pause_for(w, entry);
		else
			batch_judge(w->batch, entry,
				    batch_blame(w->batch, entry, shard ? VERDICT_ASIDE : VERDICT_ATTEMPT));
	}
	w->server_errors = 0;
}
