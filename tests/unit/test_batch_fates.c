// SPDX-License-Identifier: MIT
// What becomes of the rows of a batch.
#include "base/attr.h"
#include "base/mem.h"
#include "batch_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_fate(const struct batch *b, size_t i, enum fate fate)
{
	if (batch_entry(b, i)->fate != fate)
		fail_msg("event %zu is %s, not %s", i, fate_name(batch_entry(b, i)->fate), fate_name(fate));
}

static void fates_have_names(void **state)
{
	static const char *const names[FATE_COUNT_] = { "returned", "delivered", "superseded", "dead",
							"waiting" };

	(void)state;
	for (int f = 0; f < FATE_COUNT_; f++)
		assert_string_equal(fate_name((enum fate)f), names[f]);
}

static void verdicts_become_fates(void **state)
{
	static const struct {
		enum verdict verdict;
		int attempts;
		enum fate fate;
		enum fate behind_accepted; // when a newer full document was accepted
	} cases[] = {
		{ VERDICT_NONE, 0, FATE_RETURNED, FATE_SUPERSEDED },
		{ VERDICT_DONE, 0, FATE_DELIVERED, FATE_DELIVERED },
		{ VERDICT_SUPERSEDED, 0, FATE_SUPERSEDED, FATE_SUPERSEDED },
		{ VERDICT_DEAD, 0, FATE_DEAD, FATE_SUPERSEDED },
		{ VERDICT_ATTEMPT, 0, FATE_WAITING, FATE_SUPERSEDED },
		{ VERDICT_ATTEMPT, MAX_ATTEMPTS - 2, FATE_WAITING, FATE_SUPERSEDED },
		{ VERDICT_ATTEMPT, MAX_ATTEMPTS - 1, FATE_DEAD, FATE_SUPERSEDED },
		{ VERDICT_ATTEMPT, INT32_MAX, FATE_DEAD, FATE_SUPERSEDED },
		{ VERDICT_FUTURE, MAX_ATTEMPTS, FATE_WAITING, FATE_SUPERSEDED },      // never dead of it
		{ VERDICT_RETRY_ITEM, MAX_ATTEMPTS, FATE_RETURNED, FATE_SUPERSEDED }, // nobody's fault
		{ VERDICT_ASIDE, MAX_ATTEMPTS, FATE_WAITING, FATE_SUPERSEDED },       // nor of that
		{ VERDICT_SERVER, MAX_ATTEMPTS, FATE_RETURNED, FATE_SUPERSEDED },
		{ VERDICT_RETRY_REQUEST, MAX_ATTEMPTS, FATE_RETURNED, FATE_SUPERSEDED },
		{ VERDICT_PAUSE_INDEX, 0, FATE_RETURNED, FATE_SUPERSEDED },
		{ VERDICT_PAUSE_ALL, 0, FATE_RETURNED, FATE_SUPERSEDED },
		{ VERDICT_SPLIT, 0, FATE_RETURNED, FATE_SUPERSEDED },
		{ VERDICT_SOLO, 0, FATE_RETURNED, FATE_SUPERSEDED },
	};
	static const struct {
		enum verdict verdict;
		bool accepted;
	} newer[] = {
		{ VERDICT_DONE, true },     { VERDICT_SUPERSEDED, true },  { VERDICT_DEAD, false },
		{ VERDICT_ATTEMPT, false }, { VERDICT_RETRY_ITEM, false }, { VERDICT_NONE, false },
		{ VERDICT_FUTURE, false },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases) * array_len(newer); i++) {
		auto_buf body;
		struct batch *b = fresh(&body);
		size_t c = i / array_len(newer), n = i % array_len(newer);
		struct row row = row_of("x", "a");
		bool held;

		row.attempts = cases[c].attempts;
		add_bytes(b, &body, batch_add(b, &row, OP_INDEX, &held), "1");
		put(b, &body, "b", OP_INDEX, "-");
		batch_judge(b, 0, cases[c].verdict);
		batch_body_sent(b);
		put(b, &body, "a", OP_DELETE, "2");
		batch_judge(b, 1, VERDICT_DONE); // another document changes nothing
		batch_judge(b, 2, newer[n].verdict);
		batch_resolve(b, MAX_ATTEMPTS);
		assert_fate(b, 0, newer[n].accepted ? cases[c].behind_accepted : cases[c].fate);
		assert_fate(b, 1, FATE_DELIVERED);
		batch_free(b);
	}
}

// Also over events that were not sent, and over creates that had to wait.
static void acceptance_settles_all_that_is_older(void **state)
{
	static const char ops[] = "cccidrri"; // r = refused before sending
	const size_t last = sizeof(ops) - 2;

	(void)state;
	for (int accepted = 0; accepted <= 1; accepted++) {
		auto_buf body;
		struct batch *b = fresh(&body);

		for (size_t i = 0; i <= last; i++) {
			bool held;

			append(b, &body, 'a', ops[i], &held);
		}
		batch_judge(b, last, accepted ? VERDICT_DONE : VERDICT_DEAD);
		batch_resolve(b, MAX_ATTEMPTS);
		for (size_t i = 0; i < last; i++)
			assert_fate(b, i,
				    accepted        ? FATE_SUPERSEDED
				    : ops[i] == 'r' ? FATE_DEAD
						    : FATE_RETURNED);
		assert_fate(b, last, accepted ? FATE_DELIVERED : FATE_DEAD);
		assert_int_equal(batch_fates(b, FATE_SUPERSEDED), accepted ? last : 0);
		batch_resolve(b, MAX_ATTEMPTS); // again: the counts are not added up
		assert_int_equal(batch_fates(b, FATE_SUPERSEDED), accepted ? last : 0);
		batch_free(b);
	}
}

static void refused_rows_are_dead_with_their_reason(void **state)
{
	auto_buf body;
	struct batch *b = fresh(&body);
	char type[] = "bad_type";
	struct refusal why = { .type = type, .reason = "so and so" };
	struct row row = row_of("x", "a");

	(void)state;
	put(b, &body, "a", OP_INDEX, "1");
	assert_int_equal(batch_add_refused(b, &row, &why), 1);
	memset(type, 'x', sizeof(type) - 1); // it was copied
	memset(&why, 'x', sizeof(why));
	assert_int_equal(batch_trouble(b, 1)->status, 0);
	assert_string_equal(batch_trouble(b, 1)->type, "bad_type");
	assert_string_equal(batch_trouble(b, 1)->reason, "so and so");
	batch_seal(b, &body, BODY_MAX);
	assert_string_equal(buf_str(&body), "1"); // it takes no other event's place
	batch_resolve(b, MAX_ATTEMPTS);
	assert_fate(b, 1, FATE_DEAD);
	batch_free(b);
}

// The dead letter says which document it was, if the row says so and the names are not beyond all measure.
static void a_refused_row_has_its_document_when_it_can(void **state)
{
	static char huge[2000];
	static const struct {
		size_t index_len, id_len; // 0 = NULL
		bool known;
	} cases[] = {
		{ 1, 1, true },    { 0, 1, false },    { 1, 0, false },       { 1, 513, true },
		{ 1, 1022, true }, { 1, 1023, false }, { 2000, 2000, false },
	};

	(void)state;
	memset(huge, 'h', sizeof(huge));
	for (size_t i = 0; i < array_len(cases); i++) {
		struct batch *b = batch_new();
		const struct refusal why = { .type = "t", .reason = "r" };
		const struct row row = {
			.index = { cases[i].index_len ? huge : NULL, cases[i].index_len },
			.document_id = { cases[i].id_len ? huge : NULL, cases[i].id_len },
		};

		batch_add_refused(b, &row, &why);
		assert_int_equal(batch_index(b, 0).n, cases[i].known ? cases[i].index_len : 0);
		assert_int_equal(batch_document_id(b, 0).n, cases[i].known ? cases[i].id_len : 0);
		assert_int_equal(batch_index(b, 0).p != NULL, cases[i].known);
		batch_free(b);
	}
}

// A reason that quotes a whole document does not go into the table as it is.
static void long_reasons_are_cut_between_characters(void **state)
{
	(void)state;
	for (size_t letters = 1990; letters < 2010; letters++) {
		for (size_t odd = 0; odd <= 1; odd++) {
			auto_buf body, reason;
			struct batch *b = fresh(&body);
			const char *kept;

			buf_init(&reason, 10000);
			buf_adds(&reason, odd ? "x" : "");
			for (size_t i = 0; i < letters; i++)
				buf_adds(&reason, "\xc3\xa4");
			put(b, &body, "a", OP_INDEX, "1");
			batch_set_trouble(b, 0, 400, "t", buf_str(&reason));
			kept = batch_trouble(b, 0)->reason;
			assert_memory_equal(kept, buf_str(&reason), strlen(kept));
			assert_true(strlen(kept) <= 4000);
			assert_true(strlen(kept) >= 3999 || strlen(kept) == reason.len);
			assert_int_equal(strlen(kept) % 2, odd);
			batch_free(b);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fates_have_names),
		cmocka_unit_test(verdicts_become_fates),
		cmocka_unit_test(acceptance_settles_all_that_is_older),
		cmocka_unit_test(refused_rows_are_dead_with_their_reason),
		cmocka_unit_test(a_refused_row_has_its_document_when_it_can),
		cmocka_unit_test(long_reasons_are_cut_between_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
