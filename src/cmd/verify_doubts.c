// SPDX-License-Identifier: MIT
#include "cmd/verify.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/interrupt.h"
#include "pg/sync.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_KEYS 500
#define AGREEING_LOOKS 3
#define KEYS_MAX ((size_t)4 * 1024 * 1024)
#define PATIENCES 10 // the end of it, whatever moves

struct doubt {
	char *key;
	char *state, *version; // of the last look; NULL = none yet
	enum difference what;
	int agreed;
	int64_t first_ms; // the first look; 0 = none yet
	int64_t since_ms; // the first look since row or version moved
	bool settled;
};

struct doubts {
	struct verify *verify;
	struct http_sync *http;
	struct verified *sums;
	bool repair;
	int64_t patience_ms;
	int64_t away_ms; // since when Elasticsearch cannot say of some documents; 0 = it can
	struct doubt *list;
	size_t count, cap;
};

const char *difference_name(enum difference d)
{
	static const char *const names[] = { "missing", "stale", "extra" };

	return names[d];
}

struct doubts *doubts_new(struct verify *v, struct http_sync *http, struct verified *sums, bool repair,
			  int64_t patience_ms)
{
	struct doubts *d = mem_calloc(1, sizeof(*d));

	d->verify = v;
	d->http = http;
	d->sums = sums;
	d->repair = repair;
	d->patience_ms = patience_ms;
	return d;
}

static void forget(struct doubt *one)
{
	free(one->key);
	free(one->state);
	free(one->version);
}

void doubts_free(struct doubts *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->count; i++)
		forget(&d->list[i]);
	free(d->list);
	free(d);
}

void doubts_add(struct doubts *d, const char *key)
{
	if (d->count == d->cap) {
		d->cap = d->cap > 0 ? 2 * d->cap : 64;
		d->list = mem_realloc(d->list, d->cap, sizeof(*d->list));
	}
	d->list[d->count++] = (struct doubt){ .key = mem_strdup(key) };
}

int64_t doubts_count(const struct doubts *d)
{
	return (int64_t)d->count;
}

static void settle_as(struct doubts *d, struct doubt *one)
{
	struct verified *v = d->sums;

	v->found[one->what]++;
	if (v->sample_count < SAMPLES_MAX)
		v->samples[v->sample_count++] = (struct sample){ one->what, mem_strdup(one->key) };
	one->settled = true;
}

static enum difference difference_of(const char *name)
{
	enum difference d = MISSING;

	while (d < EXTRA && strcmp(difference_name(d), name) != 0)
		d++;
	return d;
}

static char *copy(const char *text)
{
	return mem_strdup(text ? text : "");
}

// It waits for delivery, or is held, and nothing moves; or it differs in another way each time, as a document with now() in it.
static void lose_patience(struct doubts *d, struct doubt *one, bool waits)
{
	int64_t now_ms = clock_boot_ms();

	if ((waits && now_ms - one->since_ms > d->patience_ms) ||
	    (one->agreed < AGREEING_LOOKS && now_ms - one->first_ms > PATIENCES * d->patience_ms)) {
		d->sums->waiting++;
		one->settled = true;
	}
}

// What this look says, against the last one.
static void judge(struct doubts *d, struct doubt *one, const struct pg_result *res, int row)
{
	const char *wrong = sync_text(res, row, LOOK_WRONG);
	const char *state = sync_text(res, row, LOOK_STATE), *version = sync_text(res, row, LOOK_VERSION);
	bool waits = sync_true(res, row, LOOK_WAITS);
	bool same = one->state && wrong && one->what == difference_of(wrong) &&
		    strcmp(one->state, state) == 0 && strcmp(one->version, version) == 0;

	if (!wrong) {
		one->settled = true;
		return;
	}
	one->agreed = waits ? 0 : same ? one->agreed + 1 : 1;
	if (!same) {
		free(one->state);
		free(one->version);
		one->state = copy(state);
		one->version = copy(version);
		one->what = difference_of(wrong);
		one->since_ms = clock_boot_ms();
	}
	if (one->first_ms == 0)
		one->first_ms = clock_boot_ms();
	lose_patience(d, one, waits);
}

static bool judge_all(struct doubts *d, struct doubt *from, int count, const char *keys, const char *answer,
		      struct err *e)
{
	struct pg_result *res = verify_look(d->verify, keys, answer, e);
	bool ok = res != NULL;

	for (int i = 0; ok && i < count; i++) {
		if (sync_text(res, i, LOOK_ERROR))
			ok = err_set(e, ERR_UNAVAILABLE, "Elasticsearch could not read a document: %s",
				     sync_text(res, i, LOOK_ERROR));
		else
			judge(d, &from[i], res, i);
	}
	sync_free(res);
	return ok;
}

static char *keys_of(const struct doubt *from, int count)
{
	struct buf keys;

	buf_init(&keys, KEYS_MAX);
	buf_addc(&keys, '{');
	for (int i = 0; i < count; i++)
		verify_add_key(&keys, from[i].key);
	buf_addc(&keys, '}');
	return buf_take(&keys);
}

static bool look(struct doubts *d, struct doubt *from, int count, const char *path, struct err *e)
{
	auto_free char *keys = keys_of(from, count);
	struct pg_result *body = verify_body(d->verify, keys, e);
	const struct http_reply *reply;
	bool ok = body && verify_ask(d->http, "POST", path, sync_text(body, 0, 0), &reply, e) &&
		  judge_all(d, from, count, keys, reply->body, e);

	sync_free(body);
	return ok;
}

// Too much for one answer, or a document that jsonb cannot be: one by one and, if it is that one, without its content, which is
// then surely not what the row says.
static bool look_apart(struct doubts *d, struct doubt *from, int count, struct err *e)
{
	for (int i = 0; i < count && !interrupt_came(); i++) {
		*e = (struct err){ 0 };
		if (look(d, &from[i], 1, "/_mget", e))
			continue;
		if (e->kind != ERR_DATA)
			return false;
		*e = (struct err){ 0 };
		if (!look(d, &from[i], 1, "/_mget?_source=false", e))
			return false;
	}
	return true;
}

static bool is_proven(const struct doubt *one, bool surplus)
{
	return !one->settled && one->agreed >= AGREEING_LOOKS && (one->what == EXTRA) == surplus;
}

// Somebody changes the row just now, or holds it for a long time.
static void put_off(struct doubts *d, struct doubt *one)
{
	one->agreed = 1;
	lose_patience(d, one, true);
}

static bool mend_some(struct doubts *d, struct doubt *from, int count, bool surplus, bool *ret_done,
		      struct err *e)
{
	auto_buf keys;
	int64_t chosen = 0;

	buf_init(&keys, KEYS_MAX);
	buf_addc(&keys, '{');
	for (int i = 0; i < count; i++) {
		if (is_proven(&from[i], surplus)) {
			verify_add_key(&keys, from[i].key);
			chosen++;
		}
	}
	buf_addc(&keys, '}');
	*ret_done = true;
	if (chosen > 0 && !verify_repair(d->verify, buf_str(&keys), chosen, surplus, ret_done, e))
		return false;
	for (int i = 0; *ret_done && i < count; i++) {
		if (is_proven(&from[i], surplus)) {
			settle_as(d, &from[i]);
			d->sums->repaired++;
		}
	}
	return true;
}

// All at once or, when one of them is held, one by one; of surplus it is the table that is held.
static bool mend(struct doubts *d, struct doubt *from, int count, bool surplus, struct err *e)
{
	bool done, ok = mend_some(d, from, count, surplus, &done, e);

	for (int i = 0; ok && !done && !surplus && i < count; i++) {
		bool one_done;

		ok = mend_some(d, &from[i], 1, surplus, &one_done, e);
	}
	for (int i = 0; ok && !done && i < count; i++) {
		if (is_proven(&from[i], surplus))
			put_off(d, &from[i]);
	}
	return ok;
}

static bool settle(struct doubts *d, struct doubt *from, int count, struct err *e)
{
	bool deletes = d->repair && verify_is_tracked(d->verify);

	if ((d->repair && !mend(d, from, count, false, e)) || (deletes && !mend(d, from, count, true, e)))
		return false;
	for (int i = 0; i < count; i++) {
		if ((!d->repair && is_proven(&from[i], false)) || (!deletes && is_proven(&from[i], true)))
			settle_as(d, &from[i]);
	}
	return true;
}

static void sweep(struct doubts *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->count; i++) {
		if (d->list[i].settled)
			forget(&d->list[i]);
		else
			d->list[kept++] = d->list[i];
	}
	d->count = kept;
}

static bool look_at(struct doubts *d, struct doubt *from, int count, struct err *e)
{
	bool seen = look(d, from, count, "/_mget", e) ||
		    (e->kind == ERR_DATA && look_apart(d, from, count, e));

	if (!seen)
		return !verify_is_lost(d->verify) && verify_comes_again(&d->away_ms, e);
	d->away_ms = 0;
	return settle(d, from, count, e);
}

bool doubts_look(struct doubts *d, struct err *e)
{
	bool ok = true;

	for (size_t i = 0; ok && i < d->count && !interrupt_came(); i += LOOK_KEYS) {
		int count = d->count - i < LOOK_KEYS ? (int)(d->count - i) : LOOK_KEYS;

		ok = look_at(d, &d->list[i], count, e);
	}
	sweep(d);
	return ok;
}
