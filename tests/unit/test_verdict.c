// SPDX-License-Identifier: MIT
// Every answer that was measured, with the words of the server. docs/VERDICTS.md is the same for humans.
#include "base/attr.h"
#include "core/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct item_case {
	int status;
	enum op op;
	const char *type;
	const char *reason;
	enum verdict many;
	enum verdict alone;
	bool slow;
};

#define CONFLICT "version_conflict_engine_exception"
#define ILLEGAL "illegal_argument_exception"
#define REJECTED "es_rejected_execution_exception"
#define OVER                                                                                                \
	"rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, " \
	"all_bytes=0, coordinating_operation_bytes=68295401, max_coordinating_bytes=53687091]"
#define OVER_8                                                                                              \
	"rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, " \
	"all_bytes=0, coordinating_operation_bytes=68295401, max_coordinating_and_primary_bytes=53687091]"
#define FULL                                                                                       \
	"rejected execution of coordinating operation [coordinating_and_primary_bytes=536058997, " \
	"replica_bytes=0, all_bytes=536058997, coordinating_operation_bytes=3050436, "             \
	"max_coordinating_and_primary_bytes=536870912]"
#define SAME(v) VERDICT_##v, VERDICT_##v, false
#define BY_COUNT(m, a) VERDICT_##m, VERDICT_##a, false
#define SLOW(v) VERDICT_##v, VERDICT_##v, true

static const struct item_case item_cases[] = {
	{ 201, OP_INDEX, "", "", SAME(DONE) },
	{ 200, OP_INDEX, "", "", SAME(DONE) },
	{ 200, OP_DELETE, "", "", SAME(DONE) },
	{ 201, OP_CREATE, "", "", SAME(DONE) },
	{ 404, OP_DELETE, "", "", SAME(DONE) },
	{ 404, OP_DELETE, "index_not_found_exception", "no such index [x]", SAME(PAUSE_INDEX) },
	{ 404, OP_INDEX, "index_not_found_exception", "no such index [x]", SAME(PAUSE_INDEX) },
	{ 404, OP_INDEX, "", "", SAME(ATTEMPT) },
	{ 404, OP_DELETE, "shard_not_found_exception", "no such shard", SAME(ATTEMPT) },
	{ 409, OP_INDEX, CONFLICT, "[1]: version conflict, current version [101] is higher",
	  SAME(SUPERSEDED) },
	{ 409, OP_DELETE, CONFLICT, "[1]: version conflict, current version [101] is higher",
	  SAME(SUPERSEDED) },
	{ 409, OP_CREATE, CONFLICT, "[1]: version conflict, document already exists", SAME(DONE) },
	{ 409, OP_INDEX, "", "", SAME(SUPERSEDED) },
	{ 409, OP_CREATE, "", "", SAME(DONE) },
	{ 409, OP_INDEX, "some_other_conflict", "", SAME(ATTEMPT) },
	{ 400, OP_INDEX, "index_closed_exception", "closed", SAME(PAUSE_INDEX) },
	{ 403, OP_INDEX, "cluster_block_exception", "index [x] blocked by: ...", SAME(PAUSE_INDEX) },
	{ 429, OP_INDEX, "cluster_block_exception", "index [x] blocked by: ... flood-stage",
	  SAME(PAUSE_INDEX) },
	{ 429, OP_DELETE, "cluster_block_exception", "index [x] blocked by: ... flood-stage",
	  SAME(PAUSE_INDEX) },
	{ 403, OP_INDEX, "index_create_block_exception", "blocked by: ...", SAME(PAUSE_INDEX) },
	{ 403, OP_DELETE, "security_exception", "action [...] is unauthorized", SAME(PAUSE_INDEX) },
	{ 403, OP_INDEX, "something_else", "", SAME(ATTEMPT) },
	{ 400, OP_INDEX, ILLEGAL, "no write index is defined for alias [x]. The write ...",
	  SAME(PAUSE_INDEX) },
	{ 400, OP_INDEX, ILLEGAL, "only write ops with an op_type of create are allowed in data streams",
	  SAME(PAUSE_INDEX) },
	{ 400, OP_INDEX, ILLEGAL, "pipeline with id [x] does not exist", SAME(PAUSE_INDEX) },
	{ 400, OP_INDEX, "validation_exception",
	  "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] "
	  "maximum normal shards open;",
	  SAME(PAUSE_INDEX) },
	{ 400, OP_INDEX, ILLEGAL, "mapper [price] cannot be changed from type [long] to [float]",
	  SAME(ATTEMPT) },
	// The document's own words must not decide for the index.
	{ 400, OP_INDEX, "document_parsing_exception", "no write index is defined", SAME(DEAD) },
	{ 400, OP_INDEX, ILLEGAL, "immense term in field=\"pipeline with id [\"", SAME(DEAD) },
	{ 400, OP_INDEX, "action_request_validation_exception", "version -1", BY_COUNT(SOLO, DEAD) },
	{ 400, OP_INDEX, "x_content_parse_exception", "", BY_COUNT(SOLO, DEAD) },
	{ 400, OP_INDEX, "document_parsing_exception", "failed to parse field [n]", SAME(DEAD) },
	{ 400, OP_INDEX, "mapper_parsing_exception", "failed to parse field [n]", SAME(DEAD) },
	{ 400, OP_INDEX, "strict_dynamic_mapping_exception", "", SAME(DEAD) },
	{ 400, OP_INDEX, "routing_missing_exception", "routing is required", SAME(DEAD) },
	{ 400, OP_INDEX, ILLEGAL, "Limit of total fields [1000] has been exceeded", SAME(DEAD) },
	{ 400, OP_INDEX, "invalid_index_name_exception", "Invalid index name [X]", SAME(DEAD) },
	{ 400, OP_INDEX, "never_seen_exception", "", SAME(DEAD) },
	{ 429, OP_INDEX, REJECTED, "rejected execution of ... queue capacity = 10", SLOW(RETRY_ITEM) },
	{ 429, OP_INDEX, "rejected_execution_exception", "queue", SLOW(RETRY_ITEM) },
	{ 429, OP_INDEX, REJECTED, FULL, SLOW(RETRY_ITEM) },
	{ 429, OP_INDEX, "circuit_breaking_exception", "[parent] Data too large", SLOW(RETRY_ITEM) },
	{ 500, OP_INDEX, "not_x_content_exception", "Compressor detection ...", SAME(DEAD) },
	{ 503, OP_INDEX, "unavailable_shards_exception", "[x][0] primary shard is not active", SAME(SERVER) },
	{ 503, OP_INDEX, "cluster_block_exception", "no master", SAME(SERVER) },
	{ 500, OP_INDEX, "node_not_connected_exception", "", SAME(SERVER) },
	{ 413, OP_INDEX, "", "", SAME(ATTEMPT) },
	{ 418, OP_INDEX, "teapot", "", SAME(ATTEMPT) },
	{ 302, OP_INDEX, "", "", SAME(ATTEMPT) },
	{ 0, OP_INDEX, "", "", SAME(ATTEMPT) },
	{ 999, OP_INDEX, "", "", SAME(ATTEMPT) },
};

static void items_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_len(item_cases); i++) {
		const struct item_case *c = &item_cases[i];
		struct item_facts facts = {
			.status = c->status, .op = c->op, .type = c->type, .reason = c->reason
		};
		struct judgement j = verdict_item(&facts);

		assert_string_equal(verdict_name(j.verdict), verdict_name(c->many));
		assert_int_equal(j.slow, c->slow);
		facts.alone = true;
		j = verdict_item(&facts);
		assert_string_equal(verdict_name(j.verdict), verdict_name(c->alone));
		assert_int_equal(j.slow, c->slow);
	}
}

static void item_over_the_limit_dies_alone_only(void **state)
{
	struct item_facts facts = { .status = 429, .type = REJECTED, .reason = OVER, .alone = true };

	(void)state;
	assert_int_equal(verdict_item(&facts).verdict, VERDICT_DEAD);
	assert_false(verdict_item(&facts).slow);
	facts.type = "rejected_execution_exception";
	facts.reason = OVER_8;
	assert_int_equal(verdict_item(&facts).verdict, VERDICT_DEAD);
	facts.alone = false;
	assert_int_equal(verdict_item(&facts).verdict, VERDICT_RETRY_ITEM);
	assert_true(verdict_item(&facts).slow);
}

struct request_case {
	int status;
	const char *type;
	const char *reason;
	enum verdict many;
	enum verdict alone;
	bool slow_many;
	bool slow_alone;
};

static const struct request_case request_cases[] = {
	{ 200, "", "", BY_COUNT(DONE, DONE), false },
	{ 204, "", "", BY_COUNT(RETRY_REQUEST, RETRY_REQUEST), false },
	{ 100, "", "", BY_COUNT(RETRY_REQUEST, RETRY_REQUEST), false },
	{ 301, "", "", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 302, "", "", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 307, "", "", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 400, ILLEGAL, "explicit index in bulk is not allowed", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 400, ILLEGAL, "request [/_bulk] contains unrecognized parameter: [x]",
	  BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 400, "media_type_header_exception", "Invalid media-type", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 400, "action_request_validation_exception",
	  "Validation Failed: 1: type is missing;2: type is missing;", BY_COUNT(PAUSE_ALL, PAUSE_ALL),
	  false },
	{ 400, "action_request_validation_exception", "id is too long", BY_COUNT(SPLIT, DEAD), false },
	{ 400, ILLEGAL, "Malformed action/metadata line [3]", BY_COUNT(SPLIT, DEAD), false },
	{ 400, "x_content_parse_exception", "", BY_COUNT(SPLIT, DEAD), false },
	{ 400, "", "400 no", BY_COUNT(SPLIT, DEAD), false },
	{ 400, "", "", BY_COUNT(SPLIT, PAUSE_ALL), false },
	{ 401, "security_exception", "unable to authenticate user", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 403, "security_exception", "unauthorized", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 403, "cluster_block_exception", "blocked by", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 403, "", "403 Request throttled due to too many requests /_bulk", VERDICT_RETRY_REQUEST,
	  VERDICT_RETRY_REQUEST, true, true },
	{ 404, "", "", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 405, "", "Incorrect HTTP method", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 406, "", "Content-Type", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 408, "", "", BY_COUNT(RETRY_REQUEST, RETRY_REQUEST), false },
	{ 413, "", "", BY_COUNT(SPLIT, DEAD), false },
	{ 413, "", "Request size exceeded 10485760 bytes", BY_COUNT(SPLIT, DEAD), false },
	{ 421, "", "", BY_COUNT(PAUSE_ALL, PAUSE_ALL), false },
	{ 429, REJECTED, FULL, VERDICT_SPLIT, VERDICT_RETRY_REQUEST, true, true },
	{ 429, REJECTED, OVER, VERDICT_SPLIT, VERDICT_DEAD, true, false },
	{ 429, "rejected_execution_exception", OVER_8, VERDICT_SPLIT, VERDICT_DEAD, true, false },
	{ 429, "rejected_execution_exception", FULL, VERDICT_SPLIT, VERDICT_RETRY_REQUEST, true, true },
	{ 429, "circuit_breaking_exception", "Data too large", VERDICT_RETRY_REQUEST, VERDICT_RETRY_REQUEST,
	  true, true },
	{ 429, "", "", VERDICT_RETRY_REQUEST, VERDICT_RETRY_REQUEST, true, true },
	{ 500, "illegal_state_exception", "There are no ingest nodes in this cluster, unable to forward",
	  BY_COUNT(SPLIT, PAUSE_INDEX), false },
	{ 500, "", "", BY_COUNT(RETRY_REQUEST, RETRY_REQUEST), false },
	{ 502, "", "", BY_COUNT(RETRY_REQUEST, RETRY_REQUEST), false },
	{ 503, "cluster_block_exception", "no master", BY_COUNT(RETRY_REQUEST, RETRY_REQUEST), false },
	{ 504, "", "", BY_COUNT(RETRY_REQUEST, RETRY_REQUEST), false },
	{ 600, "", "", BY_COUNT(RETRY_REQUEST, RETRY_REQUEST), false },
};

static void requests_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_len(request_cases); i++) {
		const struct request_case *c = &request_cases[i];
		struct request_facts facts = {
			.status = c->status,
			.readable = true,
			.type = c->type,
			.reason = c->reason,
			.items = 2,
		};
		struct judgement j = verdict_request(&facts);

		assert_string_equal(verdict_name(j.verdict), verdict_name(c->many));
		assert_int_equal(j.slow, c->slow_many);
		facts.items = 1;
		j = verdict_request(&facts);
		assert_string_equal(verdict_name(j.verdict), verdict_name(c->alone));
		assert_int_equal(j.slow, c->slow_alone);
	}
}

static void requests_without_an_answer_are_judged(void **state)
{
	struct request_facts facts = { .status = 200, .type = "", .reason = "", .items = 5 };

	(void)state;
	assert_int_equal(verdict_request(&facts).verdict, VERDICT_RETRY_REQUEST); // not readable
	facts.readable = true;
	facts.fault = true; // cut: the status had come
	assert_int_equal(verdict_request(&facts).verdict, VERDICT_RETRY_REQUEST);
	facts.status = 413;
	assert_int_equal(verdict_request(&facts).verdict, VERDICT_RETRY_REQUEST);
	facts.too_large_to_read = true;
	assert_int_equal(verdict_request(&facts).verdict, VERDICT_SPLIT);
	facts.items = 1;
	assert_int_equal(verdict_request(&facts).verdict, VERDICT_RETRY_REQUEST);
}

static void operation_over_the_limit_is_recognised(void **state)
{
	static const struct {
		const char *reason;
		bool over;
	} cases[] = {
		{ OVER, true },
		{ OVER_8, true },
		{ FULL, false },
		{ "[primary_operation_bytes=11, max_primary_bytes=10]", true },
		{ "[coordinating_operation_bytes=10, max_coordinating_bytes=10]", false },
		{ "[coordinating_operation_bytes=11, max_coordinating_bytes=]", false },
		{ "[coordinating_operation_bytes=, max_coordinating_bytes=10]", false },
		{ "[coordinating_operation_bytes=-1, max_coordinating_bytes=-2]", false },
		{ "[coordinating_operation_bytes=99999999999999999999, max_coordinating_bytes=10]", true },
		{ "[max_coordinating_bytes=10, coordinating_operation_bytes=11]", false },
		{ "coordinating_operation_bytes=11, max_", false },
		{ "coordinating_operation_bytes=11", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct request_facts facts = {
			.status = 429,
			.type = REJECTED,
			.reason = cases[i].reason,
			.items = 1,
		};

		assert_int_equal(verdict_request(&facts).verdict == VERDICT_DEAD, cases[i].over);
	}
}

static void conflict_version_is_read(void **state)
{
	static const struct {
		const char *reason;
		int64_t version;
	} cases[] = {
		{ "[1]: version conflict, current version [101] is higher or equal to the one provided [100]",
		  101 },
		{ "[current version [9]]: version conflict, current version [7] is higher than the one", 7 },
		{ "current version [9223372036854775807]", INT64_MAX },
		{ "[1]: version conflict, document already exists (current version [1])", 1 },
		{ "current version [-1]", -1 },
		{ "current version []", -1 },
		{ "current version [", -1 },
		{ "something else", -1 },
		{ "", -1 },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++)
		assert_int_equal(verdict_conflict_version(cases[i].reason), cases[i].version);
}

static void verdicts_have_names(void **state)
{
	(void)state;
	assert_string_equal(verdict_name(VERDICT_DONE), "done");
	assert_string_equal(verdict_name(VERDICT_RETRY_ITEM), "retry_item");
	assert_string_equal(verdict_name(VERDICT_COUNT_), "?");
	for (int v = 0; v < VERDICT_COUNT_; v++)
		assert_non_null(verdict_name((enum verdict)v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_are_judged),
		cmocka_unit_test(item_over_the_limit_dies_alone_only),
		cmocka_unit_test(requests_are_judged),
		cmocka_unit_test(requests_without_an_answer_are_judged),
		cmocka_unit_test(operation_over_the_limit_is_recognised),
		cmocka_unit_test(conflict_version_is_read),
		cmocka_unit_test(verdicts_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
