// SPDX-License-Identifier: MIT
// A new case is one new row. The rows of a table are tried in order and the first that matches wins, so the
// particular stands above the general; the last row of each table matches everything.
#include "core/verdict.h"

#include "base/attr.h"

#include <stdlib.h>
#include <string.h>

// What became of a request that has no status to judge by; the tables treat them like statuses.
enum { UNREADABLE = -1, FAULT = -2, TOO_LARGE = -3 };

enum count { ANY, ALONE, MANY }; // events in the request

enum { CREATE = 1 << OP_CREATE, DELETE = 1 << OP_DELETE };

struct rule {
	int low, high;      // statuses, both included
	const char *type;   // error.type, exactly; "" = no error; NULL = any
	const char *reason; // part of error.reason, with ^ its beginning; NULL = any
	unsigned ops;       // the operations of an item, as bits; 0 = any
	enum count count;
	bool oversize; // only when the reason says that the operation alone is over the limit
	enum verdict verdict;
	bool slow;
};

struct answer {
	int status;
	const char *type;
	const char *reason;
	unsigned op;
	enum count count;
};

// What Elasticsearch 6 says of an action without a type.
#define UNTYPED "Validation Failed: 1: type is missing"

#define STATUS(s) .low = (s), .high = (s)
#define CLASS(c) .low = (c) * 100, .high = (c) * 100 + 99
#define THEN(v) .verdict = VERDICT_##v

// A reason can quote field names and values of the document, so texts that decide for a whole index are only
// believed at its beginning, where the server's own words stand.
static const struct rule item_rules[] = {
	// Applied. 200, 201: created, updated, deleted, rewritten with an equal version.
	{ CLASS(2), THEN(DONE) },
	// A delete of an absent document: nothing to do, and its version is recorded.
	{ STATUS(404), .type = "", .ops = DELETE, THEN(DONE) },
	// No such index and it may not be created, or require_alias and no alias.
	{ STATUS(404), .type = "index_not_found_exception", THEN(PAUSE_INDEX) },
	// create of an id that exists: the id is our own, so it is this event, delivered before.
	{ STATUS(409), .type = "version_conflict_engine_exception", .ops = CREATE, THEN(DONE) },
	{ STATUS(409), .type = "", .ops = CREATE, THEN(DONE) },
	// A newer version is there.
	{ STATUS(409), .type = "version_conflict_engine_exception", THEN(SUPERSEDED) },
	{ STATUS(409), .type = "", THEN(SUPERSEDED) },
	// The index is closed (400).
	{ CLASS(4), .type = "index_closed_exception", THEN(PAUSE_INDEX) },
	// A block on the index (403); the disk's flood stage (429, which is no sign of load).
	{ CLASS(4), .type = "cluster_block_exception", THEN(PAUSE_INDEX) },
	// OpenSearch forbids new indexes while disks are full.
	{ STATUS(403), .type = "index_create_block_exception", THEN(PAUSE_INDEX) },
	// No privilege on this index or operation, or none to create the missing index.
	{ STATUS(403), .type = "security_exception", THEN(PAUSE_INDEX) },
	// An alias of several indexes without a write index.
	{ STATUS(400), .type = "illegal_argument_exception", .reason = "^no write index is defined",
	  THEN(PAUSE_INDEX) },
	// A data stream takes create only.
	{ STATUS(400), .type = "illegal_argument_exception",
	  .reason = "^only write ops with an op_type of create", THEN(PAUSE_INDEX) },
	// The pipeline of the event or of the index does not exist.
	{ STATUS(400), .type = "illegal_argument_exception", .reason = "^pipeline with id [",
	  THEN(PAUSE_INDEX) },
	// Two new fields of one name met, before 8: another request's type came first. To that type the value may well fit.
	{ STATUS(400), .type = "illegal_argument_exception", .reason = "] cannot be changed from type [",
	  THEN(ATTEMPT) },
	// The missing index cannot be created: the cluster has all the shards it may have.
	{ STATUS(400), .reason = "^Validation Failed: 1: this action would add [", THEN(PAUSE_INDEX) },
	// A 9.x node that took the request in parts gives the fault of one item to its whole part.
	{ STATUS(400), .type = "action_request_validation_exception", .count = MANY, THEN(SOLO) },
	{ STATUS(400), .type = "x_content_parse_exception", .count = MANY, THEN(SOLO) },
	// Mapping conflict, strict mapping, too many fields, missing routing, bad index name, ...
	{ STATUS(400), THEN(DEAD) },
	// A document that can never fit.
	{ STATUS(429), .type = "es_rejected_execution_exception", .count = ALONE, .oversize = true,
	  THEN(DEAD) },
	{ STATUS(429), .type = "rejected_execution_exception", .count = ALONE, .oversize = true, THEN(DEAD) },
	// Write queue full, indexing pressure on the shard's node, circuit breaker.
	{ STATUS(429), THEN(RETRY_ITEM), .slow = true },
	// 8.19 for a document that is not an object.
	{ STATUS(500), .type = "not_x_content_exception", THEN(DEAD) },
	// Primary away, too few active copies (503), a node in trouble, a document that breaks its pipeline (500).
	{ CLASS(5), THEN(SERVER) },
	// Not seen yet: an end to it must come, but not at once.
	{ .low = INT32_MIN, .high = INT32_MAX, THEN(ATTEMPT) },
};

static const struct rule request_rules[] = {
	// More answer than we read: fewer events give a shorter one.
	{ STATUS(TOO_LARGE), .count = MANY, THEN(SPLIT) },
	{ STATUS(TOO_LARGE), THEN(RETRY_REQUEST) },
	// Refused, reset, cut, late. Often applied all the same.
	{ STATUS(FAULT), THEN(RETRY_REQUEST) },
	// 200 with HTML, nothing, {}, half an answer, or another number of items than were sent.
	{ STATUS(UNREADABLE), THEN(RETRY_REQUEST) },
	{ STATUS(200), THEN(DONE) },
	// 204 and the like: not Elasticsearch speaking.
	{ CLASS(1), THEN(RETRY_REQUEST) },
	{ CLASS(2), THEN(RETRY_REQUEST) },
	// Never followed: a POST would become a GET, or credentials would go elsewhere.
	{ CLASS(3), THEN(PAUSE_ALL) },
	// rest.action.multi.allow_explicit_index: false. Splitting would bury the whole outbox.
	{ STATUS(400), .reason = "^explicit index in bulk is not allowed", THEN(PAUSE_ALL) },
	// A query parameter or content type that the server does not know: ours, not the events'.
	{ STATUS(400), .reason = "contains unrecognized parameter", THEN(PAUSE_ALL) },
	{ STATUS(400), .type = "media_type_header_exception", THEN(PAUSE_ALL) },
	// Elasticsearch 6 and older want a type in every action. Splitting would bury the whole outbox.
	{ STATUS(400), .type = "action_request_validation_exception", .reason = "^" UNTYPED,
	  THEN(PAUSE_ALL) },
	// One bad event fails all; a 9.x node may have applied some.
	{ STATUS(400), .count = MANY, THEN(SPLIT) },
	// Alone, and without a word of Elasticsearch: a proxy says no (plain HTTP to its TLS port, ...).
	{ STATUS(400), .type = "", .reason = "^$", THEN(PAUSE_ALL) },
	{ STATUS(400), THEN(DEAD) },
	// Wrong password, unknown API key.
	{ STATUS(401), THEN(PAUSE_ALL) },
	// How Amazon's service says 429.
	{ STATUS(403), .reason = "Request throttled due to too many requests", THEN(RETRY_REQUEST),
	  .slow = true },
	// No privilege at all; the cluster is read-only.
	{ STATUS(403), THEN(PAUSE_ALL) },
	// A proxy gave up waiting for the body, or does not want it yet.
	{ STATUS(408), THEN(RETRY_REQUEST) },
	{ STATUS(425), THEN(RETRY_REQUEST) },
	// Over http.max_content_length or a proxy's limit; a 9.x node may have applied some.
	{ STATUS(413), .count = MANY, THEN(SPLIT) },
	{ STATUS(413), THEN(DEAD) },
	// Indexing pressure: the same bytes would be refused for ever. One document over the limit always is.
	{ STATUS(429), .type = "es_rejected_execution_exception", .count = MANY, THEN(SPLIT), .slow = true },
	{ STATUS(429), .type = "rejected_execution_exception", .count = MANY, THEN(SPLIT), .slow = true },
	{ STATUS(429), .type = "es_rejected_execution_exception", .oversize = true, THEN(DEAD) },
	{ STATUS(429), .type = "rejected_execution_exception", .oversize = true, THEN(DEAD) },
	// Circuit breaker, a proxy's rate limit.
	{ STATUS(429), THEN(RETRY_REQUEST), .slow = true },
	// Wrong path, method or address: 404, 405, 406 and whatever else is our configuration's fault.
	{ CLASS(4), THEN(PAUSE_ALL) },
	// OpenSearch without an ingest node fails all for one event with a pipeline. Alone, its index is known.
	{ STATUS(500), .reason = "^There are no ingest nodes", .count = MANY, THEN(SPLIT) },
	{ STATUS(500), .reason = "^There are no ingest nodes", THEN(PAUSE_INDEX) },
	// No master, a node that stops, a proxy without a server behind it (504: it was applied).
	{ .low = INT32_MIN, .high = INT32_MAX, THEN(RETRY_REQUEST) },
};

static int64_t number_at(const char *text)
{
	long long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -1;
	n = strtoll(text, &end, 10); // more than fits becomes the largest number
	return n;
}

// "... [..., coordinating_operation_bytes=N, max_coordinating_bytes=M]"; before 8.18 and in OpenSearch
// max_coordinating_and_primary_bytes=M; on the shard's node primary_operation_bytes=N.
static bool is_oversize(const char *reason)
{
	static const char operation_key[] = "_operation_bytes=";
	static const char limit_key[] = "_bytes=";
	const char *operation = strstr(reason, operation_key);
	const char *limit = operation ? strstr(operation, " max_") : NULL;
	int64_t limit_bytes;

	limit = limit ? strstr(limit, limit_key) : NULL;
	if (!limit)
		return false;
	limit_bytes = number_at(limit + strlen(limit_key));
	return limit_bytes >= 0 && number_at(operation + strlen(operation_key)) > limit_bytes;
}

static bool reason_matches(const char *pattern, const char *reason)
{
	if (strcmp(pattern, "^$") == 0)
		return reason[0] == '\0';
	if (pattern[0] == '^')
		return strncmp(reason, pattern + 1, strlen(pattern) - 1) == 0;
	return strstr(reason, pattern) != NULL;
}

static bool rule_matches(const struct rule *r, const struct answer *a)
{
	return a->status >= r->low && a->status <= r->high && (r->ops == 0 || (r->ops & a->op) != 0) &&
	       (r->count == ANY || r->count == a->count) && (!r->type || strcmp(r->type, a->type) == 0) &&
	       (!r->reason || reason_matches(r->reason, a->reason)) &&
	       (!r->oversize || is_oversize(a->reason));
}

static struct judgement judge(const struct rule *rules, const struct answer *a)
{
	while (!rule_matches(rules, a))
		rules++; // the last one matches
	return (struct judgement){ .verdict = rules->verdict, .slow = rules->slow };
}

struct judgement verdict_request(const struct request_facts *facts)
{
	struct answer a = {
		.status = facts->status,
		.type = facts->type,
		.reason = facts->reason,
		.count = facts->items > 1 ? MANY : ALONE,
	};

	if (facts->too_large_to_read)
		a.status = TOO_LARGE;
	else if (facts->fault)
		a.status = FAULT;
	else if (facts->status == 200 && !facts->readable)
		a.status = UNREADABLE;
	return judge(request_rules, &a);
}

struct judgement verdict_item(const struct item_facts *facts)
{
	struct answer a = {
		.status = facts->status,
		.type = facts->type,
		.reason = facts->reason,
		.op = 1u << facts->op,
		.count = facts->alone ? ALONE : MANY,
	};

	return judge(item_rules, &a);
}

bool verdict_is_outdated(const char *reason)
{
	return strncmp(reason, UNTYPED, strlen(UNTYPED)) == 0;
}

int64_t verdict_conflict_version(const char *reason)
{
	static const char key[] = "current version [";
	const char *found = NULL;

	// The last one: the document id stands before it and may hold anything.
	for (const char *p = strstr(reason, key); p; p = strstr(p + 1, key))
		found = p + strlen(key);
	return found ? number_at(found) : -1;
}

const char *verdict_name(enum verdict v)
{
	static const char *const names[VERDICT_COUNT_] = {
		[VERDICT_NONE] = "none",
		[VERDICT_DONE] = "done",
		[VERDICT_SUPERSEDED] = "superseded",
		[VERDICT_RETRY_ITEM] = "retry_item",
		[VERDICT_ATTEMPT] = "attempt",
		[VERDICT_ASIDE] = "aside",
		[VERDICT_SERVER] = "server",
		[VERDICT_RETRY_REQUEST] = "retry_request",
		[VERDICT_PAUSE_INDEX] = "pause_index",
		[VERDICT_PAUSE_ALL] = "pause_all",
		[VERDICT_SPLIT] = "split",
		[VERDICT_SOLO] = "solo",
		[VERDICT_DEAD] = "dead",
		[VERDICT_FUTURE] = "future",
	};

	return (unsigned)v < array_len(names) ? names[v] : "?";
}
