// SPDX-License-Identifier: MIT
#include "run/answers.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "run/page.h"
#include "run/sweeper.h"
#include "run/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYNC_DEFAULT_MS 30000
#define SYNC_MAX_MS 600000
#define COUNTED_LOOK_S 0.005
#define SYNC_LOOK_MS 50
#define SYNC_REST \
	9 // pause after a look, in times of what it cost: looks take a tenth of the time, of all clients together
#define DEAD_DEFAULT 50
#define DEAD_MAX 1000

static void done(struct exchange *x, int status, const char *type)
{
	x->status = status;
	x->type = type;
	x->answered = true;
}

void answers_say(struct exchange *x, int status, const char *text)
{
	buf_clear(&x->body);
	buf_addf(&x->body, "%s\n", text);
	done(x, status, "text/plain; charset=utf-8");
}

void answers_refuse(struct exchange *x, const char *why)
{
	struct err text;

	err_set(&text, ERR_UNAVAILABLE, "%.900s%s", why,
		!(x->path->flags & PATH_WRITES) ? ""
		: answers_is_under_way(x)       ? "; it may have been done: look at /dead"
						: "; nothing was done");
	answers_say(x, 503, text.text);
}

static void say_json(struct exchange *x)
{
	buf_addc(&x->body, '\n');
	done(x, 200, "application/json");
}

static void page(struct exchange *x)
{
	buf_add(&x->body, admin_page, admin_page_len);
	done(x, 200, "text/html; charset=utf-8");
}

static void metrics(struct exchange *x)
{
	bool open = strstr(x->accept, "application/openmetrics-text") != NULL;

	health_sample(x->relay);
	metrics_print(&x->relay->health.metrics, open, &x->body);
	done(x, 200,
	     open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		  : "text/plain; version=0.0.4; charset=utf-8");
}

// Whoever can answer turns.
static void healthz(struct exchange *x)
{
	answers_say(x, 200, "ok");
}

static void readyz(struct exchange *x)
{
	bool ready = health_ready(x->relay, x->trusted, &x->body);

	if (ready)
		buf_adds(&x->body, "ok\n");
	done(x, ready ? 200 : 503, "text/plain; charset=utf-8");
}

static void status(struct exchange *x)
{
	auto_free char *text = health_status(x->relay);

	if (!text) {
		answers_say(x, 500, "the state cannot be told as JSON: please report this");
		return;
	}
	buf_adds(&x->body, text);
	say_json(x);
}

static void hold(struct exchange *x, bool on)
{
	struct relay *r = x->relay;

	if (r->on_hold != on)
		log_info(on ? "paused" : "resumed", kv_str("by", "admin"));
	r->on_hold = on;
	if (on)
		sweeper_stop(r->sweeper);
	pace_wake(&r->pace);
	relay_kick(r);
	buf_addf(&x->body, "{\"paused\":%s}", on ? "true" : "false");
	say_json(x);
}

static void pause_relay(struct exchange *x)
{
	hold(x, true);
}

static void resume_relay(struct exchange *x)
{
	hold(x, false);
}

// -- what PostgreSQL has to be asked

static void ask(struct exchange *x, enum survey_question what, int64_t number, const char *ids,
		void (*row)(void *, const struct pg_result *), void (*end)(void *, const struct err *))
{
	struct question *q = mem_calloc(1, sizeof(*q));

	q->what = what;
	q->number = number;
	q->row = row;
	q->done = end;
	q->arg = x;
	snprintf(q->ids, sizeof(q->ids), "%s", ids ? ids : "{}");
	if (keeper_ask(x->relay->keeper, q)) {
		x->question = q;
		return;
	}
	free(q);
	answers_refuse(x, "PostgreSQL is away");
}

// The common end of every question. False: it failed, and that was said.
static bool answered(struct exchange *x, const struct err *e)
{
	x->look_ms = clock_boot_ms() - x->question->begun_ms;
	if (e)
		answers_refuse(x, *e->text ? e->text : "PostgreSQL gave no answer");
	x->question = NULL;
	if (e)
		x->ready(x);
	return !e;
}

static void take_number(void *arg, const struct pg_result *res)
{
	struct exchange *x = arg;

	x->number = value_get_int(res, 0, 0);
}

static bool number_argument(struct exchange *x, const char *name, int64_t least, int64_t most, int64_t *ret)
{
	const char *text = x->argument(x, name);
	struct err e = { 0 };

	if (!text || (parse_int(text, ret, &e) && *ret >= least && *ret <= most))
		return true;
	err_set(&e, ERR_USAGE, "%s: a number from %lld to %lld is wanted", name, (long long)least,
		(long long)most);
	answers_say(x, 400, e.text);
	return false;
}

static void take_dead(void *arg, const struct pg_result *res)
{
	struct exchange *x = arg;
	struct slice text = value_get_text(res, 0, 0);

	if (!text.p) {
		x->body.full = true; // dead_list.sql keeps to itself what is too large
		return;
	}
	buf_adds(&x->body, "{\"dead\":");
	buf_add(&x->body, text.p, text.n);
	buf_addc(&x->body, '}');
}

static void dead_known(void *arg, const struct err *e)
{
	struct exchange *x = arg;

	if (!answered(x, e))
		return;
	say_json(x);
	x->ready(x);
}

static void dead(struct exchange *x)
{
	int64_t limit = DEAD_DEFAULT;

	if (number_argument(x, "limit", 1, DEAD_MAX, &limit))
		ask(x, SURVEY_DEAD, limit, NULL, take_dead, dead_known);
}

static void take_requeued(void *arg, const struct pg_result *res)
{
	struct exchange *x = arg;

	x->number = value_get_int(res, 0, 0);
	x->superseded = value_get_int(res, 0, 1);
}

// The next look is at everything.
static void look_again(struct relay *r)
{
	lanes_forget_bounds(&r->lanes);
	pace_wake(&r->pace);
	relay_kick(r);
}

static void requeued(void *arg, const struct err *e)
{
	struct exchange *x = arg;
	struct err too_long;

	// query_canceled: more than one request can do
	if (e && strcmp(e->sqlstate, "57014") == 0) {
		err_set(&too_long, ERR_REFUSED, "%.900s; `outboxd requeue` does it in small steps", e->text);
		e = &too_long;
	}
	if (!answered(x, e))
		return;
	log_info("requeued", kv_int("events", x->number), kv_int("superseded", x->superseded),
		 kv_str("by", "admin"));
	look_again(x->relay);
	buf_addf(&x->body, "{\"requeued\":%lld,\"superseded\":%lld}", (long long)x->number,
		 (long long)x->superseded);
	say_json(x);
	x->ready(x);
}

static void requeue(struct exchange *x)
{
	int64_t id = 0;
	const char *all = x->argument(x, "all");
	char ids[32];

	if (!number_argument(x, "id", INT64_MIN, INT64_MAX, &id))
		return;
	if (!x->argument(x, "id") == !all || (all && strcmp(all, "1") != 0)) {
		answers_say(x, 400, "say which: /requeue?id=12 or /requeue?all=1");
		return;
	}
	snprintf(ids, sizeof(ids), "{%lld}", (long long)id);
	ask(x, SURVEY_REQUEUE, 0, all ? "{}" : ids, take_requeued, requeued);
}

// -- POST /sync: waits until what is undelivered at the call is delivered or dead

static void sync_end(struct exchange *x, bool all)
{
	const struct tally *now = &x->relay->tally, *then = &x->then;

	buf_addf(&x->body,
		 "{\"done\":%s,\"delivered\":%lld,\"superseded\":%lld,\"dead\":%lld,\"seconds\":%.3f}",
		 all ? "true" : "false",
		 (long long)(now->fates[FATE_DELIVERED] - then->fates[FATE_DELIVERED]),
		 (long long)(now->fates[FATE_SUPERSEDED] - then->fates[FATE_SUPERSEDED]),
		 (long long)(tally_fate(now, FATE_DEAD) - tally_fate(then, FATE_DEAD)),
		 (double)(clock_boot_ms() - x->began_ms) / 1000.0);
	say_json(x);
	x->status = all ? 200 : 504;
}

static uint32_t settling_workers(const struct relay *r)
{
	uint32_t workers = 0;

	for (int i = 0; i < r->worker_count; i++)
		workers |= (uint32_t)worker_is_settling(r->workers[i]) << i;
	return workers;
}

// What the table says to be settled a worker counts when its COMMIT is answered, which may be after that.
static void tell_when_counted(struct exchange *x)
{
	x->settling &= settling_workers(x->relay);
	if (x->settling == 0 || clock_boot_ms() >= x->until_ms) {
		sync_end(x, true);
		x->ready(x);
		return;
	}
	ev_timer_set(&x->look, COUNTED_LOOK_S, 0.);
	ev_timer_start(x->relay->loop, &x->look);
}

static void take_left(void *arg, const struct pg_result *res)
{
	struct exchange *x = arg;

	x->left = value_get_bool(res, 0, 0);
}

// The last look is not later than the end.
static int64_t sync_pause_ms(const struct exchange *x)
{
	int64_t pause_ms = SYNC_REST * x->look_ms * x->relay->syncing;
	int64_t rest_ms = x->until_ms - clock_boot_ms();

	pause_ms = pause_ms > SYNC_LOOK_MS ? pause_ms : SYNC_LOOK_MS;
	return pause_ms < rest_ms ? pause_ms : rest_ms > 1 ? rest_ms : 1;
}

static void left_known(void *arg, const struct err *e)
{
	struct exchange *x = arg;

	if (!answered(x, e))
		return;
	if (x->left && clock_boot_ms() < x->until_ms && !x->relay->on_hold) {
		ev_timer_set(&x->look, (double)sync_pause_ms(x) / 1000.0, 0.);
		ev_timer_start(x->relay->loop, &x->look);
		return;
	}
	if (x->left) {
		sync_end(x, false);
		x->ready(x);
		return;
	}
	x->all = true;
	x->settling = settling_workers(x->relay);
	tell_when_counted(x);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct exchange *x = timer->data;

	(void)loop;
	(void)revents;
	if (x->all) {
		tell_when_counted(x);
		return;
	}
	ask(x, SURVEY_LEFT, x->number, NULL, take_left, left_known);
	if (x->answered)
		x->ready(x);
}

static void highest_known(void *arg, const struct err *e)
{
	struct exchange *x = arg;

	if (!answered(x, e))
		return;
	look_again(x->relay);
	ev_feed_event(x->relay->loop, &x->look, EV_TIMER);
}

static void sync_now(struct exchange *x)
{
	const char *text = x->argument(x, "timeout");
	int64_t timeout_ms = SYNC_DEFAULT_MS;
	struct err e = { 0 };

	if (text && !parse_duration_ms(text, &timeout_ms, &e)) {
		answers_say(x, 400, e.text);
		return;
	}
	if (x->relay->on_hold) {
		answers_say(x, 409, "paused: POST /resume first");
		return;
	}
	if (timeout_ms > SYNC_MAX_MS) {
		answers_say(x, 400, "timeout: at most 10m");
		return;
	}
	x->relay->syncing++;
	x->then = x->relay->tally;
	x->began_ms = clock_boot_ms();
	x->until_ms = x->began_ms + timeout_ms;
	ev_init(&x->look, on_look);
	x->look.data = x;
	ask(x, SURVEY_HIGHEST, 0, NULL, take_number, highest_known);
}

bool answers_is_under_way(const struct exchange *x)
{
	return x->question && x->question->unsure;
}

void answers_cancel(struct exchange *x)
{
	if (answers_is_under_way(x) && x->path->flags & PATH_WRITES)
		log_warn("requeue_unknown", kv_str("by", "admin"),
			 kv_str("then", "it may have been done: see `outboxd dead`"));
	if (x->question)
		keeper_forget(x->relay->keeper, x->question);
	x->question = NULL;
	if (!x->began_ms)
		return;
	ev_timer_stop(x->relay->loop, &x->look);
	x->relay->syncing--;
	x->began_ms = 0;
}

static const struct path paths[] = {
	{ "GET", "/", PATH_OPEN, page, { NULL } },
	{ "GET", "/healthz", PATH_OPEN, healthz, { NULL } },
	{ "GET", "/readyz", PATH_OPEN, readyz, { NULL } },
	{ "GET", "/metrics", 0, metrics, { NULL } },
	{ "GET", "/status", 0, status, { NULL } },
	{ "GET", "/dead", PATH_WAITS, dead, { "limit" } },
	{ "POST", "/requeue", PATH_WAITS | PATH_WRITES, requeue, { "id", "all" } },
	{ "POST", "/sync", PATH_WAITS, sync_now, { "timeout" } },
	{ "POST", "/pause", 0, pause_relay, { NULL } },
	{ "POST", "/resume", 0, resume_relay, { NULL } },
};

const struct path *answers_find(const char *method, const char *name, const char **ret_allowed)
{
	// libmicrohttpd leaves the body of a HEAD out.
	const char *like = strcmp(method, "HEAD") == 0 ? "GET" : method;

	*ret_allowed = NULL;
	for (size_t i = 0; i < array_len(paths); i++) {
		if (strcmp(paths[i].name, name) != 0)
			continue;
		*ret_allowed = paths[i].method;
		if (strcmp(paths[i].method, like) == 0)
			return &paths[i];
	}
	return NULL;
}
