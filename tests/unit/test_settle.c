// SPDX-License-Identifier: MIT
// The JSON is read back by jansson, so that a wrong escape is seen as what it is.
#include "base/attr.h"
#include "base/mem.h"
#include "pg/settle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#define MAX_ATTEMPTS 3
#define BASE_MS 100
#define CAP_MS 30000

#define LITERAL(text) { "" text, sizeof(text) - 1 }
#define SLICE(text) ((struct slice)LITERAL(text))

static struct rng rng;
static const struct retry_pace pace = { BASE_MS, CAP_MS, &rng };

static size_t add(struct batch *b, struct slice index, struct slice id, enum op op, enum verdict verdict,
		  int attempts)
{
	size_t n = batch_count(b);
	struct row row = {
		.tid = { (uint32_t)n + 1000, (uint16_t)(n + 1) },
		.id = (int64_t)n + 10,
		.attempts = attempts,
		.index = index,
		.document_id = id,
	};
	bool held;

	batch_add(b, &row, op, &held);
	batch_judge(b, n, verdict);
	return n;
}

// Of a partitioned table: no tid, but the id 65796.
static void rows_without_a_tid_go_by_their_ids(void **state)
{
	static const char marks[] = "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\1\0\0\0\1\0\0\0\x8\0\0\0\0\0\1\1\4";
	struct row row = { .id = 65796, .index = SLICE("x"), .document_id = SLICE("a") };
	struct batch *b = batch_new();
	auto_buf ids;
	bool held;

	(void)state;
	buf_init(&ids, 1000);
	batch_add(b, &row, OP_INDEX, &held);
	batch_judge(b, 0, VERDICT_DONE);
	batch_resolve(b, MAX_ATTEMPTS);
	settle_marks(b, &ids);
	assert_int_equal(ids.len, sizeof(marks) - 1);
	assert_memory_equal(ids.data, marks, ids.len);
	auto_free char *keys = settle_keys(b);
	assert_non_null(strstr(keys, "\"tid\":65796"));
	batch_free(b);
}

static json_t *parsed(char *text)
{
	json_t *json;

	assert_non_null(text);
	json = json_loads(text, JSON_ALLOW_NUL, NULL);
	if (!json)
		fail_msg("not JSON: %s", text);
	free(text);
	return json;
}

// The event's number of "(1000,1)".
static int number_of_tid(const char *tid)
{
	return (int)strtol(tid + 1, NULL, 10) - 1000;
}

static json_t *troubles(struct batch *b)
{
	batch_resolve(b, MAX_ATTEMPTS);
	return parsed(settle_troubles(b, &pace));
}

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_int_t number_at(const json_t *object, const char *key)
{
	assert_true(json_is_integer(json_object_get(object, key)));
	return json_integer_value(json_object_get(object, key));
}

static bool null_at(const json_t *object, const char *key)
{
	return json_is_null(json_object_get(object, key));
}

static void every_row_is_marked_or_parked_or_left(void **state)
{
	static const enum verdict verdicts[] = { VERDICT_DONE,    VERDICT_SUPERSEDED, VERDICT_DEAD,
						 VERDICT_ATTEMPT, VERDICT_NONE,       VERDICT_RETRY_ITEM,
						 VERDICT_DONE };
	static const char marks[] = "\0\0\0\1\0\0\0\0\0\0\0\x1b\0\0\0\3\0\0\0\1"
				    "\0\0\0\6\0\0\3\xe8\0\1\0\0\0\6\0\0\3\xe9\0\2\0\0\0\6\0\0\3\xee\0\7";
	static const char parks[] = "\0\0\0\1\0\0\0\0\0\0\0\x1b\0\0\0\2\0\0\0\1"
				    "\0\0\0\6\0\0\3\xea\0\3\0\0\0\6\0\0\3\xeb\0\4";
	struct batch *b = batch_new();
	auto_buf tids;
	char id[] = "a";

	(void)state;
	buf_init(&tids, 1000);
	for (size_t i = 0; i < array_len(verdicts); i++, id[0]++)
		add(b, SLICE("x"), (struct slice){ id, 1 }, OP_INDEX, verdicts[i], 0);
	batch_resolve(b, MAX_ATTEMPTS);
	settle_marks(b, &tids);
	assert_int_equal(tids.len, sizeof(marks) - 1);
	assert_memory_equal(tids.data, marks, tids.len);
	settle_parks(b, &tids);
	assert_int_equal(tids.len, sizeof(parks) - 1);
	assert_memory_equal(tids.data, parks, tids.len);
	// Nothing at all: an array without dimensions, an empty list, no keys.
	batch_reset(b);
	batch_resolve(b, MAX_ATTEMPTS);
	settle_marks(b, &tids);
	assert_int_equal(tids.len, 12);
	settle_parks(b, &tids);
	assert_int_equal(tids.len, 12);
	auto_free char *none = settle_troubles(b, &pace);
	assert_string_equal(none, "[]");
	assert_null(settle_keys(b));
	batch_free(b);
}

static void a_trouble_says_everything(void **state)
{
	struct batch *b = batch_new();
	struct row refused = { .tid = { 7, 8 }, .attempts = 4 };
	const struct refusal why = { .type = "bad", .reason = "because" };
	json_t *list, *error;

	(void)state;
	rng_seed(&rng, 1);
	add(b, SLICE("x"), SLICE("fine"), OP_INDEX, VERDICT_DONE, 0);
	add(b, SLICE("products"), SLICE("42"), OP_INDEX, VERDICT_ATTEMPT, 1);
	batch_set_trouble(b, 1, 418, "teapot", "short and stout");
	add(b, SLICE("products"), SLICE("43"), OP_DELETE, VERDICT_DEAD, 0);
	batch_set_trouble(b, 2, 400, "parsing", "no");
	batch_add_refused(b, &refused, &why);
	add(b, SLICE("x"), SLICE("silent"), OP_INDEX, VERDICT_DEAD, 0); // without a word
	list = troubles(b);
	assert_int_equal(json_array_size(list), 4);

	assert_string_equal(text_at(json_array_get(list, 0), "tid"), "(1001,2)");
	assert_true(number_at(json_array_get(list, 0), "wait_ms") >= 1);
	assert_true(number_at(json_array_get(list, 0), "wait_ms") <= BASE_MS * 2);
	error = json_object_get(json_array_get(list, 0), "error");
	assert_string_equal(text_at(error, "type"), "teapot");
	assert_string_equal(text_at(error, "reason"), "short and stout");
	assert_int_equal(number_at(error, "status"), 418);
	assert_int_equal(number_at(error, "attempt"), 2);
	assert_string_equal(text_at(error, "index"), "products");
	assert_string_equal(text_at(error, "id"), "42");

	assert_string_equal(text_at(json_array_get(list, 1), "tid"), "(1002,3)");
	assert_true(null_at(json_array_get(list, 1), "wait_ms")); // dead
	assert_int_equal(number_at(json_object_get(json_array_get(list, 1), "error"), "attempt"), 1);

	assert_string_equal(text_at(json_array_get(list, 2), "tid"), "(7,8)");
	error = json_object_get(json_array_get(list, 2), "error");
	assert_true(null_at(error, "status")); // refused before sending
	assert_true(null_at(error, "index"));
	assert_true(null_at(error, "id"));
	assert_int_equal(number_at(error, "attempt"), 5);

	error = json_object_get(json_array_get(list, 3), "error");
	assert_null(json_object_get(error, "type"));
	assert_string_equal(text_at(error, "id"), "silent");
	json_decref(list);
	batch_free(b);
}

static void what_waits_for_an_older_event_looks_again(void **state)
{
	static const struct {
		int64_t cap_ms, older_ms, waited_ms, wait_ms;
	} cases[] = {
		{ 30000, 7000, 0, 7000 },       { 30000, 7000, 30000, 7000 }, // with the older one
		{ 30000, 86400000, 0, 300000 },                               // which may be gone by then
		{ 30000, 0, 0, 200 },           { 30000, 0, 200, 400 },
		{ 30000, 0, 20000, 30000 }, // it is due
		{ 30000, -1, 0, 30000 },        { 30000, -1, 30000, 60000 },
		{ 30000, -1, 200000, 300000 }, // dead
		{ 100, -1, 0, 3000 },           { 100, 0, 999999999, 3000 },
		{ 3600000, -1, 0, 3600000 },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct batch *b = batch_new();
		struct row row = { .id = 5,
				   .index = SLICE("x"),
				   .document_id = SLICE("a"),
				   .is_behind = true,
				   .behind = 4,
				   .behind_wait_ms = cases[i].older_ms,
				   .refused = cases[i].waited_ms > 0,
				   .waited_ms = cases[i].waited_ms };
		struct retry_pace its = { BASE_MS, cases[i].cap_ms, pace.rng };
		json_t *list, *first;
		bool held;

		batch_add(b, &row, OP_UPDATE, &held);
		assert_true(held);
		batch_resolve(b, MAX_ATTEMPTS);
		list = parsed(settle_troubles(b, &its));
		first = json_array_get(list, 0);
		assert_int_equal(number_at(first, "wait_ms"), cases[i].wait_ms);
		assert_int_equal(number_at(first, "counted"), 0);
		assert_int_equal(number_at(json_object_get(first, "error"), "wait_ms"), cases[i].wait_ms);
		json_decref(list);
		batch_free(b);
	}
}

static void attempts_do_not_overflow(void **state)
{
	struct batch *b = batch_new();
	json_t *list;

	(void)state;
	add(b, SLICE("x"), SLICE("a"), OP_INDEX, VERDICT_ATTEMPT, INT32_MAX);
	list = troubles(b);
	assert_true(null_at(json_array_get(list, 0), "wait_ms"));
	assert_true(number_at(json_object_get(json_array_get(list, 0), "error"), "attempt") ==
		    (json_int_t)INT32_MAX + 1);
	json_decref(list);
	batch_free(b);
}

// A reason quotes the document, so it may hold anything; it must reach a jsonb column all the same.
static void reasons_are_made_fit(void **state)
{
	static const struct {
		const char *reason, *expected;
	} cases[] = {
		{ "", "" },
		{ "say \"no\" \\ / {}[]", "say \"no\" \\ / {}[]" },
		{ "a\nb\tc\rd\x1b[31me\x01\x1f", "a b c d [31me  " },
		{ "\x7f stays", "\x7f stays" },
		{ "gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80",
		  "gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "bad \xff", "(not valid UTF-8)" },
		{ "cut \xe2\x82", "(not valid UTF-8)" },
		{ "surrogate \xed\xa0\x80", "(not valid UTF-8)" },
		{ "overlong \xc0\x80", "(not valid UTF-8)" },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct batch *b = batch_new();
		json_t *list, *error;

		add(b, SLICE("x"), SLICE("a"), OP_INDEX, VERDICT_DEAD, 0);
		batch_set_trouble(b, 0, 400, cases[i].reason, cases[i].reason);
		list = troubles(b);
		error = json_object_get(json_array_get(list, 0), "error");
		assert_string_equal(text_at(error, "type"), cases[i].expected);
		assert_string_equal(text_at(error, "reason"), cases[i].expected);
		json_decref(list);
		batch_free(b);
	}
}

// Ids are compared with what another settlement wrote: two ids must never become one.
static void ids_keep_their_bytes(void **state)
{
	static const struct {
		struct slice id, expected;
	} cases[] = {
		{ LITERAL("a b"), LITERAL("a b") },
		{ LITERAL("a\nb"), LITERAL("a\nb") },
		{ LITERAL("a\x01\x1f\"\\b"), LITERAL("a\x01\x1f\"\\b") },
		{ LITERAL("\xc3\xa4"), LITERAL("\xc3\xa4") },
		{ LITERAL("a\0b"), LITERAL("a b") }, // PostgreSQL has no NUL in text, jsonb refuses \u0000
		{ LITERAL("a\0"), LITERAL("a ") },
		{ LITERAL("\xff\xfe"), LITERAL("(not valid UTF-8)") },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct batch *b = batch_new();
		json_t *list, *keys;
		const json_t *ids[2];

		add(b, SLICE("x"), cases[i].id, OP_INDEX, VERDICT_DEAD, 0);
		list = troubles(b);
		batch_judge(b, 0, VERDICT_DONE);
		batch_resolve(b, MAX_ATTEMPTS);
		keys = parsed(settle_keys(b));
		ids[0] = json_object_get(json_object_get(json_array_get(list, 0), "error"), "id");
		ids[1] = json_object_get(json_array_get(keys, 0), "id");
		for (size_t n = 0; n < 2; n++) {
			assert_int_equal(json_string_length(ids[n]), cases[i].expected.n);
			assert_memory_equal(json_string_value(ids[n]), cases[i].expected.p,
					    cases[i].expected.n);
		}
		json_decref(list);
		json_decref(keys);
		batch_free(b);
	}
}

// Which documents' older refused rows are settled, and up to which event. Events of documents a and b in turn.
static void keys_are_the_newest_accepted_state(void **state)
{
	static const struct {
		struct {
			char id;
			enum op op;
			enum verdict verdict;
		} events[4];
		const char *keys; // document and event number
	} cases[] = {
		{ { { 'a', OP_INDEX, VERDICT_DONE } }, "a0 " },
		{ { { 'a', OP_DELETE, VERDICT_SUPERSEDED } }, "a0 " },
		{ { { 'a', OP_CREATE, VERDICT_DONE } }, "" }, // not a whole state
		{ { { 'a', OP_UPDATE, VERDICT_DONE } }, "" }, // nor this
		{ { { 'a', OP_INDEX, VERDICT_DONE }, { 'a', OP_UPDATE, VERDICT_DONE } }, "a0 " },
		{ { { 'a', OP_INDEX, VERDICT_NONE },
		    { 'a', OP_UPDATE, VERDICT_DONE },
		    { 'a', OP_UPDATE, VERDICT_DONE } },
		  "a0 " },
		{ { { 'a', OP_INDEX, VERDICT_NONE },
		    { 'a', OP_UPDATE, VERDICT_DONE },
		    { 'a', OP_DELETE, VERDICT_DONE } },
		  "a2 " },
		{ { { 'a', OP_INDEX, VERDICT_DEAD } }, "" },
		{ { { 'a', OP_INDEX, VERDICT_RETRY_ITEM } }, "" },
		{ { { 'a', OP_INDEX, VERDICT_NONE }, { 'a', OP_INDEX, VERDICT_DONE } }, "a1 " },
		{ { { 'a', OP_INDEX, VERDICT_DONE }, { 'a', OP_INDEX, VERDICT_DONE } }, "a1 " },
		{ { { 'a', OP_INDEX, VERDICT_DONE }, { 'b', OP_DELETE, VERDICT_DONE } }, "a0 b1 " },
		// The newer one was refused or must come again: what was accepted still settles what is older.
		{ { { 'a', OP_INDEX, VERDICT_DONE }, { 'a', OP_INDEX, VERDICT_DEAD } }, "a0 " },
		{ { { 'a', OP_INDEX, VERDICT_DONE }, { 'a', OP_INDEX, VERDICT_NONE } }, "a0 " },
		{ { { 'a', OP_DELETE, VERDICT_DONE }, { 'a', OP_CREATE, VERDICT_DEAD } }, "a0 " },
		{ { { 'a', OP_INDEX, VERDICT_DONE },
		    { 'a', OP_INDEX, VERDICT_DEAD },
		    { 'a', OP_INDEX, VERDICT_DONE } },
		  "a2 " },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct batch *b = batch_new();
		auto_buf seen;
		char *text;

		buf_init(&seen, 100);
		for (size_t n = 0; n < array_len(cases[i].events) && cases[i].events[n].id; n++)
			add(b, SLICE("x"), (struct slice){ &cases[i].events[n].id, 1 }, cases[i].events[n].op,
			    cases[i].events[n].verdict, 0);
		batch_resolve(b, MAX_ATTEMPTS);
		text = settle_keys(b);
		if (text) { // NULL = none
			json_t *list = parsed(text);

			assert_true(json_array_size(list) > 0);
			for (size_t n = 0; n < json_array_size(list); n++) {
				json_t *key = json_array_get(list, n);

				assert_string_equal(text_at(key, "index"), "x");
				buf_addf(&seen, "%s%d ", text_at(key, "id"),
					 (int)number_at(key, "event") - 10);
			}
			json_decref(list);
		}
		assert_string_equal(buf_str(&seen), cases[i].keys);
		batch_free(b);
	}
}

// Events of one document; the version in the way of each, 0 = none. If the last one's is not believed, nothing was delivered.
static void what_hangs_on_a_conflict_shares_its_look(void **state)
{
	static const struct {
		struct {
			enum verdict verdict;
			int64_t conflict;
		} events[3];
		size_t count;
		const char *looks; // event number and version
	} cases[] = {
		{ { { VERDICT_SUPERSEDED, 100 } }, 1, "0:100 " },
		{ { { VERDICT_NONE, 0 }, { VERDICT_SUPERSEDED, 100 } }, 2, "0:100 1:100 " },
		{ { { VERDICT_SUPERSEDED, 50 }, { VERDICT_SUPERSEDED, 100 } }, 2, "0:100 1:100 " },
		{ { { VERDICT_DONE, 0 }, { VERDICT_SUPERSEDED, 100 } }, 2, "1:100 " },
		{ { { VERDICT_SUPERSEDED, 50 }, { VERDICT_DONE, 0 } }, 2, "" },
		{ { { VERDICT_NONE, 0 }, { VERDICT_SUPERSEDED, 50 }, { VERDICT_DONE, 0 } }, 3, "" },
		{ { { VERDICT_SUPERSEDED, 50 }, { VERDICT_DEAD, 0 } }, 2, "0:50 " },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct batch *b = batch_new();
		auto_buf tids, seen;
		char *text;

		buf_init(&tids, 1000);
		buf_init(&seen, 100);
		for (size_t n = 0; n < cases[i].count; n++) {
			add(b, SLICE("x"), SLICE("a"), OP_INDEX, cases[i].events[n].verdict, 0);
			batch_set_conflict(b, n, cases[i].events[n].conflict);
		}
		batch_resolve(b, MAX_ATTEMPTS);
		text = settle_conflicts(b, &tids);
		if (text) { // NULL = none
			json_t *list = parsed(text);

			for (size_t n = 0; n < json_array_size(list); n++) {
				const json_t *look = json_array_get(list, n);

				buf_addf(&seen, "%d:%d ", number_of_tid(text_at(look, "tid")),
					 (int)number_at(look, "version"));
			}
			json_decref(list);
		}
		assert_string_equal(buf_str(&seen), cases[i].looks);
		batch_free(b);
	}
}

// It is of an index, and of no document: what is newer settles it as little as it settles what is older.
static void a_query_waits_as_it_is(void **state)
{
	struct batch *b = batch_new();
	struct row row = { .tid = { 1, 1 }, .id = 5, .index = SLICE("x"), .document_id = SLICE("a") };
	const struct refusal why = { .type = "bad", .reason = "because" };
	const struct retry_pace slow = { BASE_MS, 10 * CAP_MS, &rng };
	json_t *list, *error;

	(void)state;
	rng_seed(&rng, 1);
	add(b, SLICE("x"), SLICE("a"), OP_INDEX, VERDICT_ATTEMPT, 0);
	batch_add_query(b, &row, NULL);
	batch_add_query(b, &row, &why);
	add(b, SLICE("x"), SLICE("a"), OP_INDEX, VERDICT_DONE, 0);
	batch_resolve(b, MAX_ATTEMPTS);
	list = parsed(settle_troubles(b, &slow));
	assert_int_equal(batch_entry(b, 0)->fate, FATE_SUPERSEDED);
	assert_int_equal(batch_entry(b, 1)->fate, FATE_WAITING);
	assert_int_equal(batch_entry(b, 2)->fate, FATE_DEAD);
	assert_int_equal(batch_uncounted(b), 1);
	assert_int_equal(json_array_size(list), 2);
	assert_null(json_object_get(json_array_get(list, 0), "error"));
	assert_int_equal(number_at(json_array_get(list, 0), "counted"), 0);
	assert_int_equal(number_at(json_array_get(list, 0), "wait_ms"), 30000); // however long the cap is
	error = json_object_get(json_array_get(list, 1), "error");
	assert_string_equal(text_at(error, "index"), "x");
	assert_true(null_at(error, "id"));
	json_decref(list);
	batch_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_marked_or_parked_or_left),
		cmocka_unit_test(rows_without_a_tid_go_by_their_ids),
		cmocka_unit_test(a_trouble_says_everything),
		cmocka_unit_test(what_waits_for_an_older_event_looks_again),
		cmocka_unit_test(attempts_do_not_overflow),
		cmocka_unit_test(reasons_are_made_fit),
		cmocka_unit_test(ids_keep_their_bytes),
		cmocka_unit_test(keys_are_the_newest_accepted_state),
		cmocka_unit_test(what_hangs_on_a_conflict_shares_its_look),
		cmocka_unit_test(a_query_waits_as_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
