// SPDX-License-Identifier: MIT
#include "run/retention.h"

#include "base/log.h"
#include "run/state.h"

#include <string.h>

#define PURGE_ROWS 2000
#define PURGE_PAUSE_MS 50 // between two batches, so that a purge never competes with the drain
// Two empty partitions of a million ids last for so long at 400,000 events a second, and a look into the catalogue costs little.
#define ROTATE_MS 5000
// A lock that was not had is tried for again after so long, then twice as long, and so on; at first in a moment without claims: they
// hold the table for as long as Elasticsearch takes, while writers come and go. Who holds it longer would only stop the claims.
#define BUSY_MS 1000
#define CREATE_BUSY_MAX_MS 60000
#define QUIET_TRIES 3
#define QUIET_MAX_MS 3000
#define QUIET_LOOK_MS 10

void retention_init(struct retention *t, struct relay *r)
{
	*t = (struct retention){ .relay = r, .above = PURGE_FROM_START };
	t->purge_ms = clock_boot_ms() + r->config->retention_interval;
}

static int64_t next_due_ms(const struct retention *t)
{
	bool rotates = t->relay->rotates;
	int64_t purge_ms = t->forbidden && !rotates ? INT64_MAX : t->purge_ms;

	return rotates && t->rotate_ms < purge_ms ? t->rotate_ms : purge_ms;
}

static enum retention_work what_is_due(const struct retention *t, int64_t now_ms)
{
	if (now_ms < next_due_ms(t))
		return RETENTION_REST;
	if (now_ms < t->purge_ms)
		return RETENTION_CREATE;
	return t->relay->rotates && !t->dropped ? RETENTION_DROP : RETENTION_DELETE;
}

static void claim_again(struct relay *r)
{
	if (r->quiet_until_ms)
		relay_kick(r);
	r->quiet_until_ms = 0;
}

void retention_waits(struct retention *t)
{
	claim_again(t->relay);
}

int64_t retention_due_ms(struct retention *t)
{
	int64_t now_ms = clock_boot_ms(), due_ms = next_due_ms(t);
	enum retention_work due = what_is_due(t, now_ms);
	int busy = t->busy[due == RETENTION_DROP];
	struct relay *r = t->relay;

	if (busy == 0 || busy > QUIET_TRIES || due == RETENTION_REST || due == RETENTION_DELETE) {
		claim_again(r);
		return due_ms;
	}
	if (!r->quiet_until_ms)
		r->quiet_until_ms = now_ms + QUIET_MAX_MS;
	return relay_is_active(r) && now_ms < r->quiet_until_ms ? now_ms + QUIET_LOOK_MS : due_ms;
}

void retention_run(struct retention *t, struct conn *c)
{
	int64_t keep_ms = t->relay->config->retention_keep;

	t->runs = what_is_due(t, clock_boot_ms());
	t->purge = (struct purge){ 0 };
	t->rotation = (struct rotation){ 0 };
	if (t->runs == RETENTION_DELETE)
		outbox_purge(t->relay->outbox, c, keep_ms, t->above, t->relay->rotates ? t->below : INT64_MAX,
			     PURGE_ROWS);
	else
		outbox_rotate(t->relay->outbox, c, t->runs == RETENTION_DROP ? keep_ms : -1);
}

void retention_read(struct retention *t, const struct pg_result *res, int row)
{
	if (t->runs == RETENTION_DELETE)
		outbox_read_purge(res, row, &t->purge);
	else
		outbox_read_rotation(res, row, &t->rotation);
}

// Says once that it fails, and once that it works again. Returns ok.
static bool say(struct retention *t, bool forbidden, bool ok, const struct err *e)
{
	bool *stuck = &t->stuck[t->runs != RETENTION_DELETE], was_stuck = *stuck;
	struct relay *r = t->relay;

	*stuck = !ok;
	if (ok && was_stuck)
		log_info("purge_works", kv_str("table", r->config->outbox_table));
	if (ok || (was_stuck && !forbidden))
		return ok;
	health_trouble(r, TROUBLE_PURGE, "purge_failed", e->text);
	log_warn("purge_failed", kv_err(e),
		 kv_str("then",
			forbidden ? "no more until the next start: grant DELETE, or purge by other means"
				  : "trying again"));
	return false;
}

static bool is_forbidden(bool ok, const struct err *e)
{
	return !ok && strcmp(e->sqlstate, "42501") == 0;
}

// How long to wait after a round; after one that did not have a lock ever longer, but no longer than most_ms.
static int64_t rest_ms(int busy, int64_t normal_ms, int64_t most_ms)
{
	int64_t busy_ms = busy > 0 && busy <= 20 ? (int64_t)BUSY_MS << (busy - 1) : most_ms;

	if (busy == 0)
		return normal_ms;
	return busy_ms < most_ms ? busy_ms : most_ms;
}

static int64_t round_rest_ms(const struct retention *t)
{
	int64_t interval_ms = t->relay->config->retention_interval;

	return rest_ms(t->busy[1], interval_ms, interval_ms);
}

static void rotation_ended(struct retention *t, bool ok, const struct err *e)
{
	const struct rotation *n = &t->rotation;
	struct relay *r = t->relay;
	bool drops = t->runs == RETENTION_DROP, more = ok && n->dropped > 0;
	int *busy = &t->busy[drops];

	claim_again(r);
	*busy = ok && n->busy ? *busy + 1 : 0;
	if (drops) {
		t->below = ok ? n->below : INT64_MAX; // as long as it fails it is a plain table
		t->dropped = !more && !t->forbidden;
		if (!t->dropped)
			t->purge_ms = clock_boot_ms() + (more ? PURGE_PAUSE_MS : round_rest_ms(t));
	} else {
		t->rotate_ms = clock_boot_ms() + rest_ms(*busy, ROTATE_MS, CREATE_BUSY_MAX_MS);
	}
	if (is_forbidden(ok, e))
		r->rotates = false;
	if (!say(t, is_forbidden(ok, e), ok, e))
		return;
	metrics_add(&r->health.metrics, METRIC_PARTITIONS, PARTITIONS_CREATED, (double)n->created);
	metrics_add(&r->health.metrics, METRIC_PARTITIONS, PARTITIONS_DROPPED, (double)n->dropped);
	if (n->created + n->dropped > 0)
		log_info("partitions_rotated", kv_int("created", n->created), kv_int("dropped", n->dropped));
}

// A round goes on soon; the next one begins after [retention] interval.
static void purge_ended(struct retention *t, bool ok, const struct err *e)
{
	struct relay *r = t->relay;
	bool more = ok && !t->purge.young && !t->purge.at_end;

	t->above = more ? t->purge.last : PURGE_FROM_START;
	t->purge_ms = clock_boot_ms() + (more ? PURGE_PAUSE_MS : round_rest_ms(t));
	t->dropped = t->dropped && more;
	t->forbidden = is_forbidden(ok, e);
	if (!say(t, t->forbidden, ok, e))
		return;
	t->deleted += t->purge.deleted;
	metrics_add(&r->health.metrics, METRIC_PURGED, 0, (double)t->purge.deleted);
	if (more)
		return;
	if (t->deleted > 0)
		log_info("purged", kv_int("rows", t->deleted));
	t->deleted = 0;
}

void retention_ended(struct retention *t, bool ok, const struct err *e)
{
	if (t->runs == RETENTION_DELETE)
		purge_ended(t, ok, e);
	else
		rotation_ended(t, ok, e);
}

void retention_interrupted(struct retention *t)
{
	t->above = PURGE_FROM_START;
	t->dropped = false;
	claim_again(t->relay);
}
