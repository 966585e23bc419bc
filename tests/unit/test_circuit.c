// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "core/circuit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE 100
#define CAP 30000

static struct rng seeded(void)
{
	struct rng rng;

	rng_seed(&rng, 4);
	return rng;
}

static void opens_once_and_closes_once(void **state)
{
	struct rng rng = seeded();
	struct circuit c;

	(void)state;
	circuit_init(&c, BASE, CAP);
	assert_false(c.open);
	assert_false(circuit_succeeded(&c)); // nothing to tell
	assert_true(circuit_failed(&c, 1000, -1, &rng));
	assert_true(c.open);
	assert_int_equal(c.opened_ms, 1000);
	assert_false(circuit_failed(&c, 2000, -1, &rng));
	assert_false(circuit_failed(&c, 3000, -1, &rng));
	assert_int_equal(c.opened_ms, 1000);
	assert_int_equal(c.failures, 3);
	assert_true(circuit_succeeded(&c));
	assert_false(c.open);
	assert_false(circuit_succeeded(&c));
	// A new outage counts from its own start.
	assert_true(circuit_failed(&c, 9000, -1, &rng));
	assert_int_equal(c.opened_ms, 9000);
	assert_int_equal(c.failures, 1);
}

// A relay starts with open circuits, since nothing is known yet: that is no outage to tell of.
static void open_from_the_start_is_not_an_outage(void **state)
{
	struct rng rng = seeded();
	struct circuit c;

	(void)state;
	circuit_init(&c, BASE, CAP);
	c.open = true;
	assert_true(circuit_may_probe(&c, 0)); // at once
	assert_false(circuit_succeeded(&c));
	assert_false(c.open);

	circuit_init(&c, BASE, CAP);
	c.open = true;
	assert_true(circuit_failed(&c, 500, -1, &rng)); // now it is one
	assert_int_equal(c.opened_ms, 500);
	assert_true(circuit_succeeded(&c));
}

static void one_probe_at_a_time_after_the_wait(void **state)
{
	struct rng rng = seeded();
	struct circuit c;

	(void)state;
	circuit_init(&c, BASE, CAP);
	assert_false(circuit_may_probe(&c, INT64_MAX)); // closed: no probe needed
	circuit_failed(&c, 1000, 700, &rng);
	assert_int_equal(c.until_ms, 1700); // Retry-After is longer than the first step
	assert_false(circuit_may_probe(&c, 1699));
	assert_true(circuit_may_probe(&c, 1700));
	c.probing = true;
	assert_false(circuit_may_probe(&c, 1700));
	circuit_probe_ended(&c); // without a word
	assert_true(c.open);
	assert_true(circuit_may_probe(&c, 1700));
	c.probing = true;
	circuit_failed(&c, 1800, -1, &rng); // the probe failed
	assert_false(c.probing);
	assert_true(c.until_ms > 1800);
	assert_true(circuit_may_probe(&c, c.until_ms));
	c.probing = true;
	circuit_succeeded(&c);
	assert_false(c.probing);
	assert_false(circuit_may_probe(&c, INT64_MAX));
}

static void waits_grow_until_success(void **state)
{
	struct rng rng = seeded();
	struct circuit c;
	int64_t longest = 0;

	(void)state;
	circuit_init(&c, BASE, CAP);
	int64_t now = 0;

	for (int i = 0; i < 30; i++) {
		int64_t ceiling = i < 9 ? (int64_t)BASE << i : CAP, wait;

		circuit_failed(&c, now, -1, &rng);
		wait = c.until_ms - now;
		circuit_failed(&c, now, -1, &rng); // a sibling that was under way: no step of its own
		assert_int_equal(c.until_ms, now + wait);
		now = c.until_ms;
		assert_true(wait >= 1 && wait <= ceiling);
		longest = wait > longest ? wait : longest;
	}
	assert_true(longest > CAP / 2);
	circuit_succeeded(&c);
	circuit_failed(&c, 0, -1, &rng);
	assert_true(c.until_ms <= BASE);
}

// --- indexes ---

static bool add(struct paused_indexes *p, const char *name, int64_t now_ms, struct rng *rng)
{
	return paused_add(p, name, "because", now_ms, BASE, CAP, rng);
}

static bool is_paused(const struct paused_indexes *p, const char *name, int64_t now_ms)
{
	const char *names[PAUSED_INDEXES_MAX];
	int n = paused_names(p, now_ms, names);

	for (int i = 0; i < n; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static int64_t wait_of(const struct paused_indexes *p, const char *name)
{
	for (int i = 0; i < p->count; i++) {
		if (strcmp(p->item[i].name, name) == 0)
			return p->item[i].circuit.until_ms;
	}
	return -1;
}

static void an_index_of_which_nothing_comes_any_more_is_forgotten(void **state)
{
	struct paused_indexes p = { 0 };
	struct rng rng = seeded();
	char *name;

	(void)state;
	add(&p, "a", 0, &rng);
	add(&p, "b", 5000, &rng);
	assert_null(paused_take_idle(&p, wait_of(&p, "a") + 1000, 1000)); // nobody looked
	for (int i = 0; i < 100; i++)
		paused_looked(&p, wait_of(&p, "a") - 1);
	assert_null(paused_take_idle(&p, wait_of(&p, "a") + 1000, 1000));
	for (int i = 0; i < 100; i++)
		paused_looked(&p, wait_of(&p, "b"));
	assert_null(paused_take_idle(&p, wait_of(&p, "a") + 999, 1000));
	name = paused_take_idle(&p, wait_of(&p, "a") + 1000, 1000);
	assert_string_equal(name, "a");
	free(name);
	assert_int_equal(p.count, 1);
	assert_null(paused_take_idle(&p, wait_of(&p, "b") + 999, 1000));
	// It failed again: it waits anew.
	add(&p, "b", wait_of(&p, "b") + 999, &rng);
	assert_null(paused_take_idle(&p, wait_of(&p, "b") + 999, 1000));
	paused_done(&p);
}

static void an_index_is_paused_until_its_wait_is_over(void **state)
{
	struct paused_indexes p = { 0 };
	struct rng rng = seeded();
	int64_t until;

	(void)state;
	assert_int_equal(paused_next_probe(&p, 0), INT64_MAX);
	assert_true(add(&p, "a", 1000, &rng));
	until = wait_of(&p, "a");
	assert_true(until > 1000 && until <= 1000 + BASE);
	assert_true(is_paused(&p, "a", until - 1));
	assert_false(is_paused(&p, "a", until)); // its probe
	assert_false(is_paused(&p, "b", until - 1));
	assert_int_equal(paused_next_probe(&p, until - 1), until);
	assert_int_equal(paused_next_probe(&p, until), INT64_MAX);
	// Hundreds of rows of one answer say the same: the wait must not jump to its longest.
	for (int i = 0; i < 500; i++)
		assert_false(add(&p, "a", 1000, &rng));
	assert_int_equal(wait_of(&p, "a"), until);
	assert_int_equal(p.item[0].circuit.failures, 1);
	// The probe fails: not news, but a longer wait.
	assert_false(add(&p, "a", until, &rng));
	assert_int_equal(p.item[0].circuit.failures, 2);
	assert_true(is_paused(&p, "a", until));
	paused_done(&p);
	assert_int_equal(p.count, 0);
}

static void a_wait_that_is_over_is_told_once(void **state)
{
	struct paused_indexes p = { 0 };
	struct rng rng = seeded();
	int64_t until;

	(void)state;
	assert_false(paused_due(&p, INT64_MAX));
	add(&p, "a", 1000, &rng);
	until = wait_of(&p, "a");
	assert_false(paused_due(&p, until - 1));
	assert_true(paused_due(&p, until));
	assert_false(paused_due(&p, until));
	assert_false(paused_due(&p, until + 100000));
	add(&p, "b", until, &rng); // another one is told for itself
	assert_true(paused_due(&p, wait_of(&p, "b")));
	assert_false(paused_due(&p, INT64_MAX));
	add(&p, "a", until, &rng); // fails again: told again
	assert_false(paused_due(&p, wait_of(&p, "a") - 1));
	assert_true(paused_due(&p, wait_of(&p, "a")));
	paused_done(&p);
}

static void names_are_compared_whole(void **state)
{
	static const struct {
		const char *name;
		size_t len;
		bool removed;
	} cases[] = {
		{ "product", 7, false },  { "products2", 9, false }, { "", 0, false },
		{ "Products", 8, false }, { "products2", 8, true }, // not NUL-terminated: the rest is not looked at
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct paused_indexes p = { 0 };
		struct circuit was;
		struct rng rng = seeded();

		add(&p, "products", 0, &rng);
		add(&p, "other", 0, &rng);
		assert_int_equal(paused_remove(&p, cases[i].name, cases[i].len, &was), cases[i].removed);
		assert_int_equal(is_paused(&p, "products", 0), !cases[i].removed);
		assert_true(is_paused(&p, "other", 0));
		assert_false(cases[i].removed && paused_remove(&p, cases[i].name, cases[i].len, &was));
		paused_done(&p);
	}
}

static void a_full_list_says_so(void **state)
{
	struct paused_indexes p = { 0 };
	struct circuit was;
	struct rng rng = seeded();
	const char *names[PAUSED_INDEXES_MAX];
	char name[32];

	(void)state;
	for (int i = 0; i < PAUSED_INDEXES_MAX; i++) {
		snprintf(name, sizeof(name), "index%d", i);
		assert_false(paused_is_full(&p, name));
		assert_true(add(&p, name, 1000, &rng));
	}
	assert_true(paused_is_full(&p, "one-more"));
	assert_true(paused_is_full(&p, "index"));    // names are compared whole
	assert_false(paused_is_full(&p, "index40")); // needs no room
	assert_false(add(&p, "index40", 500000, &rng));
	assert_int_equal(p.count, PAUSED_INDEXES_MAX);
	assert_int_equal(paused_names(&p, 0, names), PAUSED_INDEXES_MAX);
	assert_true(paused_remove(&p, "index7", 6, &was));
	assert_false(paused_is_full(&p, "one-more"));
	assert_true(add(&p, "one-more", 500000, &rng));
	for (int i = 0; i < PAUSED_INDEXES_MAX; i++) {
		snprintf(name, sizeof(name), "index%d", i);
		assert_int_equal(wait_of(&p, name) >= 0, i != 7);
	}
	paused_done(&p);
}

static void the_next_probe_is_the_nearest(void **state)
{
	struct paused_indexes p = { 0 };
	struct circuit was;
	struct rng rng = seeded();
	int64_t near, far;

	(void)state;
	add(&p, "far", 90000, &rng);
	add(&p, "near", 5000, &rng);
	add(&p, "farther", 190000, &rng);
	near = wait_of(&p, "near");
	far = wait_of(&p, "far");
	assert_int_equal(paused_next_probe(&p, 0), near);
	assert_int_equal(paused_next_probe(&p, near), far); // what is due already waits for nothing
	assert_true(paused_remove(&p, "far", 3, &was));
	assert_int_equal(paused_next_probe(&p, near), wait_of(&p, "farther"));
	paused_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_once_and_closes_once),
		cmocka_unit_test(open_from_the_start_is_not_an_outage),
		cmocka_unit_test(one_probe_at_a_time_after_the_wait),
		cmocka_unit_test(waits_grow_until_success),
		cmocka_unit_test(an_index_of_which_nothing_comes_any_more_is_forgotten),
		cmocka_unit_test(an_index_is_paused_until_its_wait_is_over),
		cmocka_unit_test(a_wait_that_is_over_is_told_once),
		cmocka_unit_test(names_are_compared_whole),
		cmocka_unit_test(a_full_list_says_so),
		cmocka_unit_test(the_next_probe_is_the_nearest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
