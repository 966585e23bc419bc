// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "batch_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_slice(struct slice s, const char *text)
{
	assert_int_equal(s.n, strlen(text));
	assert_memory_equal(s.p, text, s.n);
}

static void an_entry_remembers_its_row(void **state)
{
	auto_buf body;
	struct batch *b = fresh(&body);
	struct row row = row_of("products", "42");
	bool held = true;

	(void)state;
	row.tid = (struct tid){ 70000, 12 };
	row.lane = 7;
	row.id = 1234567890123;
	row.created_us = 99;
	assert_int_equal(batch_add(b, &row, OP_DELETE, &held), 0);
	assert_false(held);
	const struct entry *e = batch_entry(b, 0);
	assert_true(e->tid.block == 70000 && e->tid.offset == 12);
	assert_int_equal(e->lane, 7);
	assert_int_equal(e->id, 1234567890123);
	assert_int_equal(e->created_us, 99);
	assert_int_equal(e->op, OP_DELETE);
	assert_slice(batch_index(b, 0), "products");
	assert_slice(batch_document_id(b, 0), "42");
	assert_null(batch_trouble(b, 0));
	batch_free(b);
	batch_free(NULL);
}

// What is sent of one body. Events are op and key: i = index, d = delete, c = create, u = update, r = refused before.
static void only_the_newest_full_document_is_sent(void **state)
{
	static const struct {
		const char *events;
		const char *body;
		const char *held;
	} cases[] = {
		{ "-- ia ib ic", "122333", "" },
		{ "-- ia ia", "22", "" },
		{ "-- ia ia ia da", "4444", "" },
		{ "-- da ia", "22", "" },
		{ "-- ia ib ia ib ic", "333444455555", "" },
		{ "-- ia ib ic ia", "223334444", "" },
		{ "-- ca cb", "122", "" },
		{ "-- ca ca", "1", "2" }, // the second waits for the word on the first
		{ "-- ia ca", "1", "2" },
		{ "-- ia ca cb ca", "1333", "24" },
		{ "-- ca ia", "22", "" },      // carries everything
		{ "-- ca ca ia", "333", "2" }, // also what was sent before the one that waits
		{ "-- da ca ia", "333", "2" },
		{ "-- ia ca ca ca da", "55555", "234" },
		{ "-- ia ca ia ca", "333", "24" },
		{ "-- ia ra", "1", "" }, // what is refused takes no other event's place
		{ "-- ra ia", "22", "" },
		{ "-- ia ra ia", "333", "" },
		{ "-- ia ra ca", "1", "3" },
		{ "-- ra rb ia", "333", "" },
		{ "-- ua ua ub ua", "3334444", "" }, // parts become one
		{ "-- ia ua", "22", "" },
		{ "-- ua ia", "22", "" },
		{ "-- da ua", "22", "" },
		{ "-- ca ua", "1", "2" },
		{ "-- ra ua", "", "2" },
		{ "-- ua ra ua", "1", "3" },
		{ "-- ia ua ca", "22", "3" },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf body;
		struct batch *b = fresh(&body);
		char held[8] = "";
		size_t held_count = 0;
		struct refusal why = { .type = "t", .reason = "r" };
		struct row nameless = { .id = 1 };

		batch_add_refused(b, &nameless, &why); // number 0, has no bytes
		for (const char *e = cases[i].events + 2; *e; e += 3) {
			bool is_held = true;

			append(b, &body, e[2], e[1], &is_held);
			if (is_held)
				held[held_count++] = (char)('0' + batch_count(b) - 1);
		}
		assert_string_equal(held, cases[i].held);
		assert_int_equal(batch_live_bytes(b), strlen(cases[i].body));
		batch_seal(b, &body, BODY_MAX);
		assert_string_equal(buf_str(&body), cases[i].body);
		batch_free(b);
	}
}

// What an update takes up, and whether that is all there is of its document.
static void updates_take_up_what_was_not_sent(void **state)
{
	static const struct {
		const char *ops;
		int parts;
		bool based;
	} cases[] = {
		{ "u", 1, false },  { "uu", 2, false }, { "iu", 2, true },    { "du", 2, true },
		{ "iuu", 3, true }, { "uiu", 2, true }, { "iuiuu", 3, true },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf body;
		struct batch *b = fresh(&body);
		struct range range;
		bool held;

		for (const char *op = cases[i].ops; *op; op++)
			append(b, &body, 'a', *op, &held);

		const struct entry *last = batch_entry(b, batch_count(b) - 1);
		assert_int_equal(last->parts, cases[i].parts);
		assert_int_equal(last->based, cases[i].based);
		for (enum verdict v = VERDICT_NONE; v < VERDICT_COUNT_; v++) {
			bool blames = v == VERDICT_DEAD || v == VERDICT_ATTEMPT;

			assert_int_equal(batch_blame(b, batch_count(b) - 1, v),
					 blames && cases[i].parts > 1 ? VERDICT_ASIDE : v);
		}
		batch_seal(b, &body, BODY_MAX);
		assert_true(batch_next(b, &range) && batch_range_has_updates(b, &range));
		assert_int_equal(batch_range_reads(b, &range), !cases[i].based);
		// What was sent is taken up by nobody, and waited for.
		batch_body_sent(b);
		append(b, &body, 'a', 'u', &held);
		assert_true(held);
		batch_judge(b, batch_count(b) - 2, VERDICT_DONE);
		batch_free(b);
	}
}

// Both have one action line.
static void only_what_goes_the_same_way(void **state)
{
	static const struct {
		const char *routing, *pipeline;
		bool together;
	} cases[] = {
		{ "r", "p", true },  { "r", NULL, false },  { NULL, "p", false },
		{ "p", "r", false }, { NULL, "rp", false }, { "rp", "", false },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf body;
		struct batch *b = fresh(&body);
		struct row row = row_of("x", "a");
		bool held;

		row.routing = (struct slice){ "r", 1 };
		row.pipeline = (struct slice){ "p", 1 };
		add_bytes(b, &body, batch_add(b, &row, OP_UPDATE, &held), "1");
		row.routing = (struct slice){ cases[i].routing,
					      cases[i].routing ? strlen(cases[i].routing) : 0 };
		row.pipeline = (struct slice){ cases[i].pipeline,
					       cases[i].pipeline ? strlen(cases[i].pipeline) : 0 };
		(void)batch_add(b, &row, OP_UPDATE, &held);
		assert_int_equal(held, !cases[i].together);
		batch_free(b);
	}
}

// Events 10, 20, 30, ... of one document. u = update, i = index; upper case = it was refused before. After each comes the nearest
// older refused event, '-' = none. Waiting = its digit: the event for which it waits, '.' = it goes.
static void updates_wait_for_what_was_refused(void **state)
{
	static const struct {
		const char *ops, *behind, *waits;
	} cases[] = {
		{ "u", "-", "." },    { "u", "0", "0" },       { "uuu", "000", "000" },
		{ "iu", "-0", ".." }, { "uiu", "000", "0.." }, { "Uu", "-1", ".." },
		{ "Uu", "01", "00" }, { "UUu", "-12", "..." }, { "Uuiu", "0011", "00.." },
		{ "Iu", "-1", ".." }, { "Cu", "-0", ".0" },    { "uIu", "002", "0.." },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf body;
		struct batch *b = fresh(&body);

		for (size_t n = 0; cases[i].ops[n]; n++) {
			char op = cases[i].ops[n];
			struct row row = row_of("x", "a");
			bool held, waits = cases[i].waits[n] != '.';
			size_t number;

			row.id = 10 * (int64_t)(n + 1);
			row.refused = op == 'U' || op == 'I' || op == 'C';
			row.is_behind = (op == 'u' || op == 'U') && cases[i].behind[n] != '-';
			row.behind = row.is_behind ? 10 * (cases[i].behind[n] - '0') : 0;
			row.behind_wait_ms = 1000;
			row.waited_ms = (int64_t)n;
			number = batch_add(b, &row,
					   op == 'C'                ? OP_CREATE
					   : op == 'i' || op == 'I' ? OP_INDEX
								    : OP_UPDATE,
					   &held);
			assert_int_equal(batch_entry(b, number)->verdict,
					 waits ? VERDICT_ASIDE : VERDICT_NONE);
			assert_int_equal(batch_entry(b, number)->behind, waits);
			assert_int_equal(batch_entry(b, number)->older_wait_ms, waits ? 1000 : 0);
			assert_int_equal(batch_entry(b, number)->waited_ms, waits ? row.waited_ms : 0);
			if (!held)
				add_bytes(b, &body, number, "1");
			assert_true(held || !waits);
			if (waits) // all of them for the event 0
				assert_non_null(strstr(batch_trouble(b, number)->reason, "event 0 of"));
		}
		batch_free(b);
	}
}

static void not_without_end(void **state)
{
	auto_buf body;
	struct batch *b = fresh(&body);
	size_t n = 0;

	(void)state;
	do {
		n = put(b, &body, "a", OP_UPDATE, "x");
	} while (batch_entry(b, n)->start < batch_entry(b, n)->end);
	assert_int_equal(n, 64); // it has to wait
	assert_int_equal(batch_entry(b, 63)->parts, 64);
	batch_free(b);
}

// Of a range some events turned out to be unfit: runs of the others come again, in their order.
static void the_rest_comes_again(void **state)
{
	static const struct {
		const char *judged; // x = judged
		const char *ranges;
	} cases[] = {
		{ "x", "" },
		{ "xxx", "" },
		{ "x..", "1-3 " },
		{ "..x", "0-2 " },
		{ ".x.", "0-1 2-3 " },
		{ "x..x.xx", "1-3 4-5 " },
		{ ".x.x.", "0-1 2-3 4-5 " },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf body;
		struct batch *b = fresh(&body);
		char ranges[64] = "";
		struct range range;
		bool held;

		for (size_t n = 0; cases[i].judged[n]; n++)
			append(b, &body, (char)('a' + n), 'u', &held);
		batch_seal(b, &body, BODY_MAX);
		assert_true(batch_next(b, &range));
		for (size_t n = 0; cases[i].judged[n]; n++) {
			if (cases[i].judged[n] == 'x')
				batch_judge(b, n, VERDICT_DEAD);
		}
		batch_rest(b, &range);
		while (batch_next(b, &range))
			snprintf(ranges + strlen(ranges), sizeof(ranges) - strlen(ranges), "%zu-%zu ",
				 range.from, range.to);
		assert_string_equal(ranges, cases[i].ranges);
		batch_free(b);
	}
}

static void documents_are_told_apart(void **state)
{
	static const struct {
		const char *index, *id;
		const char *other_index, *other_id;
		bool same;
	} cases[] = {
		{ "a", "1", "a", "1", true },      { "a", "1", "b", "1", false },
		{ "a", "1", "a", "2", false },     { "ab", "c", "a", "bc", false },
		{ "a", "b c", "a b", "c", false }, { "a", "1", "a", "1 ", false },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf body;
		struct batch *b = fresh(&body);
		struct row one = row_of(cases[i].index, cases[i].id);
		struct row two = row_of(cases[i].other_index, cases[i].other_id);
		bool held;

		add_bytes(b, &body, batch_add(b, &one, OP_INDEX, &held), "1");
		add_bytes(b, &body, batch_add(b, &two, OP_INDEX, &held), "2");
		batch_seal(b, &body, BODY_MAX);
		assert_string_equal(buf_str(&body), cases[i].same ? "2" : "12");
		batch_free(b);
	}
}

// A create after an older event of its document may go as soon as that one was accepted.
static void create_waits_for_acceptance(void **state)
{
	static const struct {
		enum verdict older;
		bool held;
	} cases[] = {
		{ VERDICT_DONE, false },      { VERDICT_SUPERSEDED, false }, { VERDICT_NONE, true },
		{ VERDICT_RETRY_ITEM, true }, { VERDICT_ATTEMPT, true },     { VERDICT_PAUSE_INDEX, true },
		{ VERDICT_DEAD, true },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf body;
		struct batch *b = fresh(&body);
		struct row row = row_of("x", "a");
		bool held = !cases[i].held;

		put(b, &body, "a", OP_DELETE, "d");
		batch_seal(b, &body, BODY_MAX);
		batch_judge(b, 0, cases[i].older);
		batch_body_sent(b);
		batch_add(b, &row, OP_CREATE, &held);
		assert_int_equal(held, cases[i].held);
		batch_free(b);
	}
}

// Sizes of events that go out, and where the body is cut.
static void requests_are_cut_by_size(void **state)
{
	static const struct {
		size_t sizes[6];
		size_t max;
		const char *ranges;
	} cases[] = {
		{ { 0 }, 10, "" },
		{ { 5 }, 10, "0-1 " },
		{ { 5, 5 }, 10, "0-2 " },
		{ { 5, 5, 1 }, 10, "0-2 2-3 " },
		{ { 5, 6, 5 }, 10, "0-1 1-2 2-3 " },
		{ { 11 }, 10, "0-1 " }, // larger than a request: alone
		{ { 1, 99, 1, 1 }, 10, "0-1 1-2 2-4 " },
		{ { 99, 1, 9, 1 }, 10, "0-1 1-3 3-4 " },
		{ { 1, 2, 3, 4 }, 1, "0-1 1-2 2-3 3-4 " },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf body, seen;
		struct batch *b = fresh(&body);
		struct range r;
		size_t start, end, at = 0;

		buf_init(&seen, 1000);
		for (size_t n = 0; n < 6 && cases[i].sizes[n]; n++) {
			char id[2] = { (char)('a' + n), '\0' }, bytes[100] = "";

			memset(bytes, 'x', cases[i].sizes[n]);
			put(b, &body, id, OP_INDEX, bytes);
		}
		batch_seal(b, &body, cases[i].max);
		while (batch_has_next(b)) {
			assert_true(batch_next(b, &r));
			batch_range_bytes(b, &r, &start, &end);
			assert_int_equal(start, at);
			at = end;
			buf_addf(&seen, "%zu-%zu ", r.from, r.to);
		}
		assert_int_equal(at, body.len);
		assert_string_equal(buf_str(&seen), cases[i].ranges);
		batch_free(b);
	}
}

static void splits_and_solos_come_next(void **state)
{
	auto_buf body, seen;
	struct batch *b = fresh(&body);
	struct range r;

	(void)state;
	buf_init(&seen, 1000);
	for (char c = 'a'; c < 'h'; c++) {
		char id[2] = { c, '\0' };
		put(b, &body, id, OP_INDEX, id);
	}
	batch_seal(b, &body, 5);
	for (int request = 0; batch_next(b, &r); request++) {
		size_t start, end;

		batch_range_bytes(b, &r, &start, &end);
		buf_addf(&seen, "%.*s ", (int)(end - start), body.data + start);
		for (size_t i = 0; i < r.to - r.from; i++)
			assert_int_equal(batch_sent_entry(b, &r, i), r.from + i);
		if (request == 0) // abcde
			batch_split(b, &r);
		else if (request == 2) // cde
			batch_solo(b, &r, 1);
	}
	assert_string_equal(buf_str(&seen), "abcde ab cde d fg ");
	batch_solo(b, &r, 0);
	batch_drop_ranges(b); // nothing more goes out
	assert_false(batch_has_next(b));
	batch_free(b);
}

// A body that is full is sent and used again; what is in the next one has nothing to do with it.
static void reset_and_reuse(void **state)
{
	auto_buf body;
	struct batch *b = fresh(&body);
	struct range r;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 300; i++) { // more than the arrays start with
			char id[8];

			snprintf(id, sizeof(id), "%d", i % 100);
			assert_int_equal(put(b, &body, id, OP_INDEX, "abc"), i);
			batch_judge(b, (size_t)i, VERDICT_DEAD);
			batch_set_trouble(b, (size_t)i, 1, "t", "r");
		}
		assert_int_equal(batch_count(b), 300);
		assert_int_equal(batch_live_bytes(b), 300);
		batch_seal(b, &body, 30);
		assert_int_equal(body.len, 300);
		batch_resolve(b, MAX_ATTEMPTS);
		assert_int_equal(batch_fates(b, FATE_DEAD), 300);
		batch_reset(b);
		buf_clear(&body);
		assert_int_equal(batch_count(b), 0);
		assert_int_equal(batch_live_bytes(b), 0);
		assert_int_equal(batch_fates(b, FATE_DEAD), 0);
		assert_false(batch_next(b, &r));
	}
	batch_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_remembers_its_row),
		cmocka_unit_test(only_the_newest_full_document_is_sent),
		cmocka_unit_test(updates_take_up_what_was_not_sent),
		cmocka_unit_test(only_what_goes_the_same_way),
		cmocka_unit_test(updates_wait_for_what_was_refused),
		cmocka_unit_test(not_without_end),
		cmocka_unit_test(the_rest_comes_again),
		cmocka_unit_test(documents_are_told_apart),
		cmocka_unit_test(create_waits_for_acceptance),
		cmocka_unit_test(requests_are_cut_by_size),
		cmocka_unit_test(splits_and_solos_come_next),
		cmocka_unit_test(reset_and_reuse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
