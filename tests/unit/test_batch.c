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

// What is sent of one body. Events are op and key: i = index, d = delete, c = create, r = refused before.
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
		cmocka_unit_test(documents_are_told_apart),
		cmocka_unit_test(create_waits_for_acceptance),
		cmocka_unit_test(requests_are_cut_by_size),
		cmocka_unit_test(splits_and_solos_come_next),
		cmocka_unit_test(reset_and_reuse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
