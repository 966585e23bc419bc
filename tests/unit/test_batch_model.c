// SPDX-License-Identifier: MIT
// Random claims with random answers, against a model that is slow and obvious: it looks at every event again for
// every question. A failure names its seed.
#include "base/attr.h"
#include "base/clock.h"
#include "core/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SEEDS 3000
#define EVENTS_MAX 150
#define BODY_MAX (1024 * 1024)
#define MAX_ATTEMPTS 3

struct event {
	int key; // -1 = a refused row that does not say of which document
	enum op op;
	bool refused;
	bool held;
	bool unfit; // could not be written into the body
	int body;   // which one it came for
	enum verdict verdict;
	int attempts;
	int answers; // times that Elasticsearch said something of it
	char bytes[80];
};

struct model {
	uint64_t seed;
	struct rng rng;
	struct batch *batch;
	struct buf body;
	struct event event[EVENTS_MAX];
	size_t count;
	int bodies;
	bool abandoned;
	size_t sent[EVENTS_MAX]; // of this body, in order
	size_t sent_count;
};

#define check(m, condition)                                                                   \
	do {                                                                                  \
		if (!(condition))                                                             \
			fail_msg("seed %llu: %s", (unsigned long long)(m)->seed, #condition); \
	} while (0)

static int64_t between(struct model *m, int64_t low, int64_t high)
{
	return rng_between(&m->rng, low, high);
}

static bool chance(struct model *m, int percent)
{
	return between(m, 1, 100) <= percent;
}

static bool is_full(const struct event *e)
{
	return e->op != OP_CREATE && !e->refused;
}

static bool is_accepted(const struct event *e)
{
	return e->verdict == VERDICT_DONE || e->verdict == VERDICT_SUPERSEDED;
}

// --- The model's answers ---

// A create waits when the event before it was not accepted.
static bool must_wait(const struct model *m, int key, enum op op)
{
	for (size_t i = m->count; i-- > 0;) {
		if (m->event[i].key == key)
			return op == OP_CREATE && !is_accepted(&m->event[i]);
	}
	return false;
}

static bool is_sent(const struct model *m, size_t n)
{
	const struct event *e = &m->event[n];

	if (e->refused || e->held || e->unfit || e->body != m->bodies)
		return false;
	for (size_t i = n + 1; i < m->count; i++) {
		if (m->event[i].key == e->key && is_full(&m->event[i]))
			return false;
	}
	return true;
}

static enum fate own_fate(const struct event *e)
{
	if (e->verdict == VERDICT_DONE)
		return FATE_DELIVERED;
	if (e->verdict == VERDICT_SUPERSEDED)
		return FATE_SUPERSEDED;
	if (e->verdict == VERDICT_DEAD || (e->verdict == VERDICT_ATTEMPT && e->attempts >= MAX_ATTEMPTS - 1))
		return FATE_DEAD;
	return e->verdict == VERDICT_ATTEMPT || e->verdict == VERDICT_FUTURE ? FATE_WAITING : FATE_RETURNED;
}

static enum fate fate_of(const struct model *m, size_t n)
{
	const struct event *e = &m->event[n];

	for (size_t i = n + 1; i < m->count && e->key >= 0 && e->verdict != VERDICT_DONE; i++) {
		if (m->event[i].key == e->key && is_full(&m->event[i]) && is_accepted(&m->event[i]))
			return FATE_SUPERSEDED;
	}
	return own_fate(e);
}

static void find_sent(struct model *m)
{
	m->sent_count = 0;
	for (size_t n = 0; n < m->count; n++) {
		if (is_sent(m, n))
			m->sent[m->sent_count++] = n;
	}
}

static size_t bytes_of(const struct model *m, size_t from, size_t to)
{
	size_t bytes = 0;

	for (size_t i = from; i < to; i++)
		bytes += strlen(m->event[m->sent[i]].bytes);
	return bytes;
}

// --- What is done to the batch ---

static void add_refused(struct model *m, struct event *e, struct row *row)
{
	const struct refusal why = { .type = "t", .reason = "r" };

	if (chance(m, 20)) {
		e->key = -1;
		row->index = (struct slice){ NULL, 0 };
	}
	e->refused = true;
	e->verdict = VERDICT_DEAD;
	check(m, batch_add_refused(m->batch, row, &why) == m->count);
	m->count++;
}

static void write_bytes(struct model *m, struct event *e)
{
	size_t start = m->body.len;

	snprintf(e->bytes, sizeof(e->bytes), "<%zu%.*s>", m->count, (int)between(m, 0, 60),
		 "............................................................");
	buf_adds(&m->body, e->bytes);
	batch_set_bytes(m->batch, m->count, start, m->body.len);
}

static void add(struct model *m)
{
	static const char *const indexes[] = { "a", "a", "b" }, *const ids[] = { "1", "2", "1" };
	struct event *e = &m->event[m->count];
	struct row row = { .attempts = (int)between(m, 0, MAX_ATTEMPTS) };
	bool held = false;

	*e = (struct event){ .key = (int)between(m, 0, 2), .body = m->bodies, .attempts = row.attempts };
	row.index = (struct slice){ indexes[e->key], 1 };
	row.document_id = (struct slice){ ids[e->key], 1 };
	if (chance(m, 8)) {
		add_refused(m, e, &row);
		return;
	}
	e->op = chance(m, 25) ? OP_CREATE : chance(m, 25) ? OP_DELETE : OP_INDEX;
	e->held = must_wait(m, e->key, e->op);
	check(m, batch_add(m->batch, &row, e->op, &held) == m->count);
	check(m, held == e->held);
	if (!held && chance(m, 5)) {
		e->unfit = true;
		e->verdict = VERDICT_DEAD;
		batch_judge(m->batch, m->count, VERDICT_DEAD);
	} else if (!held) {
		write_bytes(m, e);
	}
	m->count++;
}

static void judge(struct model *m, const struct range *r)
{
	static const enum verdict verdicts[] = { VERDICT_DONE,       VERDICT_DONE,        VERDICT_DONE,
						 VERDICT_SUPERSEDED, VERDICT_DEAD,        VERDICT_ATTEMPT,
						 VERDICT_RETRY_ITEM, VERDICT_PAUSE_INDEX, VERDICT_FUTURE };

	for (size_t i = 0; i < r->to - r->from; i++) {
		size_t n = batch_sent_entry(m->batch, r, i);

		check(m, n == m->sent[r->from + i]);
		if (r->to - r->from > 1 && chance(m, 10)) {
			batch_solo(m->batch, r, i);
			continue;
		}
		m->event[n].verdict = verdicts[between(m, 0, (int64_t)array_len(verdicts) - 1)];
		m->event[n].answers++;
		batch_judge(m->batch, n, m->event[n].verdict);
	}
}

static void check_request(struct model *m, const struct range *r, size_t max_bytes)
{
	size_t start, end;

	check(m, r->from < r->to && r->to <= m->sent_count);
	batch_range_bytes(m->batch, r, &start, &end);
	check(m, start == bytes_of(m, 0, r->from));
	check(m, end == start + bytes_of(m, r->from, r->to));
	check(m, end - start <= max_bytes || r->to - r->from == 1);
}

// The whole body: what should be sent, one after another, never two events of one document.
static void check_body(struct model *m)
{
	size_t at = 0;

	for (size_t i = 0; i < m->sent_count; i++) {
		const struct event *e = &m->event[m->sent[i]];
		size_t len = strlen(e->bytes);

		check(m, at + len <= m->body.len && memcmp(m->body.data + at, e->bytes, len) == 0);
		at += len;
		for (size_t n = 0; n < i; n++)
			check(m, m->event[m->sent[n]].key != e->key);
	}
	check(m, at == m->body.len);
	check(m, at == batch_live_bytes(m->batch));
}

static void send_body(struct model *m)
{
	size_t max_bytes = (size_t)between(m, 1, 200);
	struct range r;

	find_sent(m);
	batch_seal(m->batch, &m->body, max_bytes);
	check_body(m);
	while (!m->abandoned && batch_next(m->batch, &r)) {
		check_request(m, &r, max_bytes);
		if (r.to - r.from > 1 && chance(m, 15)) {
			batch_split(m->batch, &r);
		} else if (chance(m, 1)) { // the server went away
			m->abandoned = true;
			batch_drop_ranges(m->batch);
		} else {
			judge(m, &r);
		}
	}
	check(m, !batch_has_next(m->batch));
	for (size_t i = 0; i < m->sent_count; i++)
		check(m, m->event[m->sent[i]].answers == 1 ||
				 (m->abandoned && m->event[m->sent[i]].answers == 0));
	batch_body_sent(m->batch);
	buf_clear(&m->body);
	check(m, batch_live_bytes(m->batch) == 0);
	m->bodies++;
}

static void check_fates(struct model *m)
{
	size_t fates[FATE_COUNT_] = { 0 }, sum = 0;

	batch_resolve(m->batch, MAX_ATTEMPTS);
	check(m, batch_count(m->batch) == m->count);
	for (size_t n = 0; n < m->count; n++) {
		enum fate fate = batch_entry(m->batch, n)->fate;

		if (fate != fate_of(m, n))
			fail_msg("seed %llu: event %zu is %s, not %s", (unsigned long long)m->seed, n,
				 fate_name(fate), fate_name(fate_of(m, n)));
		fates[fate]++;
	}
	for (int f = 0; f < FATE_COUNT_; f++) {
		check(m, batch_fates(m->batch, (enum fate)f) == fates[f]);
		sum += fates[f];
	}
	check(m, sum == m->count); // claimed = the sum of the fates
}

static void claim(struct model *m)
{
	size_t events = (size_t)between(m, 0, EVENTS_MAX);

	m->count = 0;
	m->bodies = 0;
	m->abandoned = false;
	while (m->count < events && !m->abandoned) {
		add(m);
		find_sent(m);
		check(m, batch_live_bytes(m->batch) == bytes_of(m, 0, m->sent_count));
		if (chance(m, 10)) { // the worker closes gaps while rows still arrive
			batch_compact(m->batch, &m->body);
			check_body(m);
		}
		if (chance(m, 8))
			send_body(m);
	}
	if (!m->abandoned)
		send_body(m);
	check_fates(m);
	batch_reset(m->batch);
	buf_clear(&m->body);
}

static void random_claims_follow_the_model(void **state)
{
	static struct model m;

	(void)state;
	m.batch = batch_new(); // one batch for all, as in a worker
	buf_init(&m.body, BODY_MAX);
	for (m.seed = 1; m.seed <= SEEDS; m.seed++) {
		rng_seed(&m.rng, m.seed);
		claim(&m);
	}
	batch_free(m.batch);
	buf_done(&m.body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_claims_follow_the_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
