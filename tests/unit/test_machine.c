// SPDX-License-Identifier: MIT
// The worker's table of transitions: nothing is missing, nothing is there twice, and it leads somewhere.
#include "base/attr.h"
#include "base/buf.h"
#include "run/machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S(name) (1u << W_##name)
#define EVERY ((1u << W_STATE_COUNT_) - 1)
#define BUT(states) (EVERY & ~(states))

// What cannot happen, and why. All of it is reported as a bug by worker_dispatch.
static const struct {
	enum worker_event on;
	unsigned states;
	const char *because;
} ignored[] = {
	{ E_CONNECT, BUT(S(OFFLINE)), "only the timer of OFFLINE says so" },
	{ E_UP, BUT(S(CONNECTING)), "conn says it once, after conn_open" },
	{ E_DOWN, S(OFFLINE), "conn is closed, a closed conn says nothing" },
	{ E_TIMEOUT, S(OFFLINE), "its timer means CONNECT" },
	{ E_TIMEOUT, S(CONNECTING) | S(IDLE) | S(PROBING) | S(READING) | S(SENDING), "no timer runs" },
	{ E_FIT, BUT(S(INSPECTING)), "the answer to INSPECTING" },
	{ E_UNFIT, BUT(S(INSPECTING)), "the answer to INSPECTING" },
	{ E_GO, BUT(S(IDLE)), "orders are given to idle workers only" },
	{ E_PROBE, BUT(S(IDLE)), "orders are given to idle workers only" },
	{ E_WAKE, BUT(S(IDLE)), "orders are given to idle workers only" },
	{ E_CHECK, BUT(S(IDLE)), "orders are given to idle workers only" },
	{ E_CHECKED, BUT(S(CHECKING) | S(WAKING)), "the answer to CHECKING and WAKING" },
	{ E_ALIVE, BUT(S(PROBING)), "the answer to PROBING" },
	{ E_NO_SIGN, BUT(S(PROBING)), "the answer to PROBING" },
	{ E_HELD, BUT(S(PROBING)), "the answer to PROBING" },
	{ E_SEND, BUT(S(CLAIMING) | S(READING) | S(SENDING)),
	  "only rows or an answer make a request ready; DISCARDING sends nothing" },
	{ E_READ, BUT(S(CLAIMING) | S(READING) | S(SENDING)), "as for SEND" },
	{ E_MORE_ROWS, BUT(S(CLAIMING) | S(READING) | S(SENDING)),
	  "only when a body is free again; DISCARDING has abandoned its claim" },
	{ E_DISCARD, S(DISCARDING), "it reads to the end without a pause" },
	{ E_DISCARD, BUT(S(CLAIMING) | S(READING) | S(SENDING) | S(DISCARDING)),
	  "only while a claim is open" },
	{ E_SETTLE, BUT(S(CLAIMING) | S(READING) | S(SENDING) | S(DISCARDING)),
	  "only while a claim is open" },
	{ E_RELEASE, BUT(S(CLAIMING) | S(READING) | S(SENDING) | S(DISCARDING)),
	  "only while a claim is open" },
	{ E_SETTLED, BUT(S(SETTLING) | S(SIEVING)),
	  "the answer to a commit; elsewhere on_done uses it to report a bug" },
	{ E_RELEASED, BUT(S(ROLLING_BACK)), "the answer to ROLLBACK" },
	{ E_SIEVE, BUT(S(ROLLING_BACK)), "the answer to ROLLBACK" },
	{ E_LOOK, BUT(S(ROLLING_BACK)), "the answer to ROLLBACK" },
	{ E_SQL_FAILED, S(OFFLINE) | S(CONNECTING) | S(IDLE) | S(PROBING), "no script runs" },
	{ E_SQL_FAILED, S(READING) | S(SENDING), "the claim's script has ended or is paused" },
	{ E_SQL_FAILED, S(INSPECTING), "it says UNFIT" },
	{ E_SQL_FAILED, S(WAKING), "its end is all that counts: CHECKED" },
};

static const int timeouts[] = {
#define X(name, timeout) [W_##name] = (timeout),
	WORKER_STATES(X)
#undef X
};

// States without a timer of their own, and who ends them.
static const struct {
	enum worker_state state;
	const char *ends_by;
} without_timer[] = {
	{ W_OFFLINE, "the timer that the backoff computes (arm), or nobody once the relay stops" },
	{ W_CONNECTING, "the time-out of conn_open: UP or DOWN" },
	{ W_IDLE, "the relay's pump, or the connection: DOWN" },
	{ W_PROBING, "the time-out of http_call_get: every call ends in a reply" },
	{ W_READING, "the time-out of http_call_ask: every call ends in a reply" },
	{ W_SENDING, "the deadline of http_call_post: every call ends in a reply" },
};

static bool has_rule(enum worker_state from, enum worker_event on)
{
	return worker_find_rule(from, on) != NULL;
}

static void every_state_knows_every_event(void **state)
{
	(void)state;
	for (int s = 0; s < W_STATE_COUNT_; s++) {
		for (int e = 0; e < E_EVENT_COUNT_; e++) {
			int times = has_rule((enum worker_state)s, (enum worker_event)e);

			for (size_t i = 0; i < array_len(ignored); i++)
				times += ignored[i].on == (enum worker_event)e &&
					 (ignored[i].states & 1u << s);
			if (times != 1)
				fail_msg("%s x %s: %s", worker_state_text((enum worker_state)s),
					 worker_event_text((enum worker_event)e),
					 times ? "a rule and ignored, or ignored twice"
					       : "neither a rule nor ignored");
		}
	}
}

static void no_rule_is_there_twice(void **state)
{
	(void)state;
	for (size_t i = 0; i < worker_rule_count; i++) {
		const struct worker_rule *r = &worker_rules[i];

		assert_true(r->from < W_STATE_COUNT_ && r->on < E_EVENT_COUNT_ && r->to < W_STATE_COUNT_);
		assert_non_null(r->act);
		if (worker_find_rule(r->from, r->on) != r)
			fail_msg("%s x %s is there twice", worker_state_text(r->from),
				 worker_event_text(r->on));
	}
	assert_null(worker_find_rule(W_OFFLINE, E_SETTLED));
}

static unsigned step(unsigned from, bool backwards)
{
	unsigned to = from;

	for (size_t i = 0; i < worker_rule_count; i++) {
		const struct worker_rule *r = &worker_rules[i];

		if (from & 1u << (backwards ? r->to : r->from))
			to |= 1u << (backwards ? r->from : r->to);
	}
	return to;
}

static unsigned closure(unsigned from, bool backwards)
{
	unsigned before;

	do {
		before = from;
		from = step(from, backwards);
	} while (from != before);
	return from;
}

static void every_state_is_reached_and_left(void **state)
{
	(void)state;
	assert_int_equal(closure(S(OFFLINE), false), EVERY);
	assert_int_equal(closure(S(OFFLINE), true), EVERY);
	assert_int_equal(closure(S(IDLE), true), EVERY);
	// One event is enough to get back to the start, from wherever: the connection is lost.
	for (int s = 0; s < W_STATE_COUNT_; s++) {
		const struct worker_rule *r = worker_find_rule((enum worker_state)s, E_DOWN);

		assert_int_equal(r == NULL, s == W_OFFLINE);
		assert_true(!r || r->to == W_OFFLINE);
	}
}

static void every_waiting_state_ends(void **state)
{
	(void)state;
	assert_int_equal(array_len(timeouts), W_STATE_COUNT_);
	for (int s = 0; s < W_STATE_COUNT_; s++) {
		const struct worker_rule *late = worker_find_rule((enum worker_state)s, E_TIMEOUT);
		int named = 0;

		for (size_t i = 0; i < array_len(without_timer); i++)
			named += without_timer[i].state == (enum worker_state)s;
		if (named != (timeouts[s] == 0))
			fail_msg("%s: %d s, named %d times", worker_state_text((enum worker_state)s),
				 timeouts[s], named);
		assert_int_equal(late != NULL, timeouts[s] > 0);
		// Nothing is known of a session that does not answer: it is dropped.
		assert_true(!late || (late->to == W_OFFLINE && late->act == worker_act_drop));
	}
}

// An action belongs to the state it is entered with: nobody settles in IDLE.
static void actions_fit_their_states(void **state)
{
	static const struct {
		enum worker_state to;
		worker_action *act;
	} fit[] = {
		{ W_OFFLINE, worker_act_retreat },       { W_OFFLINE, worker_act_drop },
		{ W_OFFLINE, worker_act_leave },         { W_CONNECTING, worker_act_connect },
		{ W_INSPECTING, worker_act_inspect },    { W_IDLE, worker_act_rest },
		{ W_IDLE, worker_act_finish },           { W_CHECKING, worker_act_check },
		{ W_WAKING, worker_act_wake },           { W_PROBING, worker_act_probe },
		{ W_CLAIMING, worker_act_claim },        { W_CLAIMING, worker_act_resume },
		{ W_READING, worker_act_read },          { W_SENDING, worker_act_send },
		{ W_DISCARDING, worker_act_resume },     { W_SETTLING, worker_act_settle },
		{ W_ROLLING_BACK, worker_act_rollback }, { W_SIEVING, worker_act_sieve },
		{ W_INSPECTING, worker_act_look },
	};
	bool used[array_len(fit)] = { false };

	(void)state;
	for (size_t i = 0; i < worker_rule_count; i++) {
		bool found = false;

		for (size_t n = 0; n < array_len(fit); n++) {
			if (fit[n].to == worker_rules[i].to && fit[n].act == worker_rules[i].act)
				found = used[n] = true;
		}
		if (!found)
			fail_msg("%s x %s: the action does not fit %s",
				 worker_state_text(worker_rules[i].from),
				 worker_event_text(worker_rules[i].on),
				 worker_state_text(worker_rules[i].to));
	}
	for (size_t n = 0; n < array_len(fit); n++)
		assert_true(used[n]);
}

static unsigned claims_open(void)
{
	return S(CLAIMING) | S(READING) | S(SENDING) | S(DISCARDING) | S(SETTLING) | S(ROLLING_BACK) |
	       S(SIEVING);
}

// What must hold for every single transition, whatever rules are added.
static void transactions_end_where_they_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < worker_rule_count; i++) {
		const struct worker_rule *r = &worker_rules[i];
		bool inside = claims_open() & 1u << r->from, stays = claims_open() & 1u << r->to;

		// A claim begins with BEGIN, and ends only by commit, by rollback or with its session.
		if (!inside && stays)
			assert_true(r->act == worker_act_claim);
		if (inside && !stays)
			assert_true(r->act == worker_act_finish || r->act == worker_act_retreat ||
				    r->act == worker_act_drop || r->act == worker_act_look);
		if (r->act == worker_act_finish)
			assert_true(r->on == E_SETTLED || r->on == E_RELEASED);
		assert_true(inside || r->act != worker_act_finish);
		// Fates are written once, after all that was sent is judged; a lost session settles nothing.
		assert_int_equal(r->to == W_SETTLING, r->on == E_SETTLE);
		assert_int_equal(r->to == W_SENDING, r->on == E_SEND);
		assert_int_equal(r->to == W_READING, r->on == E_READ);
		assert_int_equal(r->to == W_DISCARDING, r->on == E_DISCARD); // or the rest would be sent
		// A failed statement is never followed by a commit.
		if (r->on == E_SQL_FAILED)
			assert_true(r->to == W_ROLLING_BACK || r->to == W_OFFLINE || r->from == W_CHECKING);
	}
}

static void names_are_told_apart(void **state)
{
	(void)state;
	assert_string_equal(worker_state_text(W_OFFLINE), "OFFLINE");
	assert_string_equal(worker_state_text(W_SIEVING), "SIEVING");
	assert_string_equal(worker_event_text(E_CONNECT), "CONNECT");
	assert_string_equal(worker_event_text(E_SQL_FAILED), "SQL_FAILED");
	for (int a = 0; a < W_STATE_COUNT_; a++) {
		for (int b = 0; b < a; b++)
			assert_string_not_equal(worker_state_text((enum worker_state)a),
						worker_state_text((enum worker_state)b));
	}
}

// The arrow of a rule, and its event among those of the arrow.
static bool shows_rule(const char *text, const struct worker_rule *r)
{
	auto_buf arrow, event;
	const char *at, *found, *end;

	buf_init(&arrow, 200);
	buf_addf(&arrow, " %s --> %s : ", worker_state_text(r->from), worker_state_text(r->to));
	buf_init(&event, 200);
	buf_addf(&event, " %s", worker_event_text(r->on));
	at = strstr(text, buf_str(&arrow));
	if (!at || strstr(at + 1, buf_str(&arrow))) // two of them would say the same twice
		return false;
	end = strchr(at, '\n');
	found = strstr(at + strlen(buf_str(&arrow)) - 1, buf_str(&event));
	return found && found < end && strchr(",\n", found[strlen(buf_str(&event))]) != NULL;
}

static void the_diagram_has_every_rule(void **state)
{
	char *text = NULL;
	size_t size = 0, events = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_non_null(out);
	worker_print_fsm(out);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(text, "[*] --> OFFLINE\n"));
	for (size_t i = 0; i < worker_rule_count; i++)
		assert_true(shows_rule(text, &worker_rules[i]));
	for (const char *p = text; *p; p++)
		events += *p == ':' || *p == ',';
	assert_int_equal(events, worker_rule_count);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_knows_every_event),
		cmocka_unit_test(no_rule_is_there_twice),
		cmocka_unit_test(every_state_is_reached_and_left),
		cmocka_unit_test(every_waiting_state_ends),
		cmocka_unit_test(actions_fit_their_states),
		cmocka_unit_test(transactions_end_where_they_should),
		cmocka_unit_test(names_are_told_apart),
		cmocka_unit_test(the_diagram_has_every_rule),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
