// SPDX-License-Identifier: MIT
// Starts the parts, hands out work, listens to signals, drains and stops. What the parts report is in
// relay_report.c.
#include "run/relay.h"

#include "base/log.h"
#include "run/admin.h"
#include "run/keeper.h"
#include "run/service.h"
#include "run/state.h"
#include "run/sweeper.h"
#include "run/verifier.h"
#include "run/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SWEEP_LEAST_US 10000
#define TICK_S 1.0
#define PROGRESS_TICKS 10
// --once without a once_timeout still ends when nothing moves for so long: a server stays away, an index is blocked.
#define STILL_MAX_MS 60000
// An idle relay asks Elasticsearch for a sign of life, so that an outage is known before the next event meets it.
#define SILENCE_MAX_MS 15000

void relay_kick(struct relay *r)
{
	ev_feed_event(r->loop, &r->pump, EV_TIMER);
}

void relay_quit(struct relay *r, int exit_code)
{
	r->exit_code = exit_code;
	ev_break(r->loop, EVBREAK_ALL);
}

enum order { ORDER_WAIT, ORDER_CLAIM, ORDER_PROBE, ORDER_CHECK, ORDER_WAKE };

static int active_workers(const struct relay *r)
{
	int n = 0;

	for (int i = 0; i < r->worker_count; i++)
		n += !worker_is_quiet(r->workers[i]);
	return n;
}

// A sweep of one lane goes on beside them.
static int batches_in_flight(const struct relay *r)
{
	int n = 0;

	for (int i = 0; i < r->worker_count; i++)
		n += !worker_is_quiet(r->workers[i]) && !worker_sweeps_alone(r->workers[i]);
	return n;
}

bool relay_is_active(const struct relay *r)
{
	return active_workers(r) > 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

// A circuit that holds back claims: closed = go; open = wait, then one worker at a time.
static bool may_claim(const struct relay *r, const struct circuit *c, int64_t now_ms, int64_t *next_ms)
{
	if (!c->open)
		return true;
	if (active_workers(r) > 0)
		return false; // who is active asks again when it is done
	if (now_ms < c->until_ms) {
		*next_ms = earlier(*next_ms, c->until_ms);
		return false;
	}
	return true;
}

// --once with nothing to deliver needs no Elasticsearch.
static bool may_be_done(struct relay *r)
{
	bool away = r->once && r->inspected && r->elasticsearch.open && r->elasticsearch.failures > 0;
	bool ask = r->maybe_done || (away && !r->asked_while_away);

	r->asked_while_away = r->asked_while_away || away;
	r->maybe_done = false;
	return ask;
}

void relay_probe_paused_indexes(struct relay *r, int64_t now_ms)
{
	if (r->paused.count > 0)
		relay_forget_idle_indexes(r);
	if (!paused_due(&r->paused, now_ms))
		return;
	lanes_forget_bounds(&r->lanes);
	pace_wake(&r->pace);
}

// What an idle worker should do now; *next_ms is lowered to when to ask again.
static enum order decide(struct relay *r, int64_t now_ms, int64_t *next_ms)
{
	int64_t look_ms, start_ms;

	// Before anything else: a claim that fails must not be repeated under the name of a probe.
	if (r->on_hold && !r->once)
		return ORDER_WAIT;
	if (now_ms < r->quiet_until_ms) {
		*next_ms = earlier(*next_ms, r->quiet_until_ms);
		return ORDER_WAIT;
	}
	if (!may_claim(r, &r->sql, now_ms, next_ms) || !may_claim(r, &r->items, now_ms, next_ms))
		return ORDER_WAIT;
	if (active_workers(r) == 0 && may_be_done(r))
		return ORDER_CHECK;
	if (r->test_wakeups && r->trigger) {
		r->test_wakeups = false;
		return ORDER_WAKE;
	}
	if (r->elasticsearch.open) {
		if (active_workers(r) > 0)
			return ORDER_WAIT; // who is active asks again when it is done
		if (circuit_may_probe(&r->elasticsearch, now_ms))
			return ORDER_PROBE;
		*next_ms = earlier(*next_ms, r->elasticsearch.until_ms);
		return ORDER_WAIT;
	}
	if (active_workers(r) == 0 && now_ms - r->heard_ms >= SILENCE_MAX_MS)
		return ORDER_PROBE;
	if (active_workers(r) == 0)
		*next_ms = earlier(*next_ms, r->heard_ms + SILENCE_MAX_MS);
	start_ms = pace_next_start(&r->pace, batches_in_flight(r));
	if (r->looking || lanes_free_count(&r->lanes) == 0 || start_ms == INT64_MAX)
		return ORDER_WAIT; // a claim that learns its lanes, or ends, asks again
	relay_probe_paused_indexes(r, now_ms);
	look_ms = pace_next_look(&r->pace, r->lanes.sweep_at_us / 1000);
	if (look_ms < start_ms)
		look_ms = start_ms;
	if (now_ms >= look_ms)
		return ORDER_CLAIM;
	*next_ms = earlier(*next_ms, earlier(look_ms, paused_next_probe(&r->paused, now_ms)));
	return ORDER_WAIT;
}

static void give(struct worker *w, enum order order)
{
	if (order == ORDER_CLAIM)
		worker_claim(w);
	else if (order == ORDER_PROBE)
		worker_probe(w);
	else if (order == ORDER_CHECK)
		worker_check_left(w);
	else
		worker_wake_listeners(w);
}

static void stop_when_quiet(struct relay *r)
{
	if (active_workers(r) == 0)
		relay_quit(r, r->exit_code);
}

static void on_pump(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct relay *r = timer->data;
	int64_t now_ms = clock_boot_ms(), next_ms = INT64_MAX;

	(void)revents;
	ev_timer_stop(loop, timer);
	if (r->stopping) {
		stop_when_quiet(r);
		return;
	}
	for (int i = 0; i < r->worker_count; i++) {
		enum order order = worker_is_idle(r->workers[i]) ? decide(r, now_ms, &next_ms) : ORDER_WAIT;

		if (order != ORDER_WAIT)
			give(r->workers[i], order);
	}
	if (next_ms == INT64_MAX)
		return; // somebody will kick
	ev_timer_set(timer, next_ms > now_ms ? (double)(next_ms - now_ms) / 1000.0 : 0.001, 0.);
	ev_timer_start(loop, timer);
}

static void on_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct relay *r = w->data;

	(void)loop;
	(void)revents;
	if (r->stopping) {
		log_warn("stopped_at_once", kv_int("in_flight", active_workers(r)));
		relay_quit(r, r->once ? 75 : 0);
		return;
	}
	r->stopping = true;
	sweeper_stop(r->sweeper);
	if (r->once)
		r->exit_code = 75;
	log_info("stopping", kv_str("signal", w->signum == SIGTERM ? "TERM" : "INT"),
		 kv_int("in_flight", active_workers(r)));
	ev_timer_set(&r->stop_limit, (double)r->config->relay_shutdown_timeout / 1000.0 + 0.001, 0.);
	ev_timer_start(r->loop, &r->stop_limit);
	service_stopping(r->service);
	relay_kick(r);
}

static void on_stop_limit(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct relay *r = w->data;

	(void)loop;
	(void)revents;
	log_warn("shutdown_timeout", kv_int("rolled_back", active_workers(r)));
	relay_quit(r, r->exit_code);
}

static void on_limit(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct relay *r = w->data;

	(void)loop;
	(void)revents;
	log_error("once_timeout", kv_int("seconds", r->config->relay_once_timeout / 1000));
	relay_quit(r, 75);
}

static void on_dump(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct relay *r = w->data;

	(void)loop;
	(void)revents;
	for (int i = 0; i < r->worker_count; i++)
		log_info("worker_state", kv_int("worker", i),
			 kv_str("state", worker_state_name(r->workers[i])));
	log_info("relay_state", kv_int("claimed", r->tally.claimed),
		 kv_bool("elasticsearch_away", r->elasticsearch.open),
		 kv_int("paused_indexes", r->paused.count), kv_int("free_lanes", lanes_free_count(&r->lanes)),
		 kv_int("rows", r->pace.rows), kv_int("bytes", r->pace.bytes),
		 kv_bool("notified", r->pace.notified));
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct relay *r = w->data;
	int64_t now_ms = clock_boot_ms();

	(void)loop;
	(void)revents;
	int64_t moved = tally_claimed(&r->tally) - r->tally.fates[FATE_RETURNED] - r->tally.unmoved;

	if (moved != r->moved) {
		r->moved = moved;
		r->moved_ms = now_ms;
	}
	if (r->config->relay_once_timeout == 0 && now_ms - r->moved_ms > STILL_MAX_MS &&
	    !sweeper_works(r->sweeper)) {
		log_error("gave_up",
			  kv_str("why", "nothing could be delivered for a while; see the lines above"),
			  kv_int("seconds", STILL_MAX_MS / 1000));
		relay_quit(r, 75);
		return;
	}
	if (r->watcher)
		r->watcher->show(r->watcher->arg, moved);
	else if (++r->ticks % PROGRESS_TICKS == 0)
		log_info("progress", kv_int("delivered", r->tally.fates[FATE_DELIVERED]),
			 kv_int("superseded", r->tally.fates[FATE_SUPERSEDED]),
			 kv_int("dead", r->tally.fates[FATE_DEAD]),
			 kv_int("seconds", (now_ms - r->started_ms) / 1000));
}

static void watch_timer(struct relay *r, ev_timer *t, void (*cb)(struct ev_loop *, ev_timer *, int),
			double after, double repeat)
{
	ev_init(t, cb);
	ev_timer_set(t, after, repeat);
	t->data = r;
	if (after > 0)
		ev_timer_start(r->loop, t);
}

static void watch_signal(struct relay *r, ev_signal *s, void (*cb)(struct ev_loop *, ev_signal *, int),
			 int number)
{
	ev_init(s, cb);
	ev_signal_set(s, number);
	s->data = r;
	ev_signal_start(r->loop, s);
}

static void decisions_init(struct relay *r)
{
	const struct config *c = r->config;
	const struct pace_limits limits = {
		.rows_max = c->relay_batch_rows,
		.bytes_max = c->relay_batch_bytes,
		.workers_max = (int)c->relay_workers,
		.poll_ms = c->relay_poll_interval,
	};

	rng_seed_from_system(&r->rng);
	r->heard_ms = r->started_ms;
	lanes_init(&r->lanes, SWEEP_LEAST_US);
	pace_init(&r->pace, &limits);
	circuit_init(&r->elasticsearch, c->retry_base, c->retry_cap);
	circuit_init(&r->postgres, c->retry_base, c->retry_cap);
	circuit_init(&r->sql, c->retry_base, c->retry_cap);
	circuit_init(&r->items, c->retry_base, c->retry_cap);
	// Not heard of yet: the first thing is to ask, and a refusal then is said like any other.
	r->elasticsearch.open = true;
	r->postgres.open = true;
	r->highest = r->once ? 0 : INT64_MAX; // --once: inspection finds it
}

static void parts_init(struct relay *r, const struct relay_start *start)
{
	watch_timer(r, &r->pump, on_pump, 0, 0);
	watch_timer(r, &r->stop_limit, on_stop_limit, 0, 0);
	watch_timer(r, &r->limit, on_limit, r->once ? (double)r->config->relay_once_timeout / 1000.0 : 0, 0);
	watch_timer(r, &r->tick, on_tick, r->once ? TICK_S : 0, TICK_S);
	watch_signal(r, &r->term, on_signal, SIGTERM);
	watch_signal(r, &r->intr, on_signal, SIGINT);
	watch_signal(r, &r->usr1, on_dump, SIGUSR1);
	signal(SIGPIPE, SIG_IGN);
	health_start(r);
	r->service = service_new(r);
	r->worker_count = (int)r->config->relay_workers;
	for (int i = 0; i < r->worker_count; i++) {
		r->workers[i] = worker_new(r, i);
		worker_start(r->workers[i]);
	}
	if (!r->once) {
		r->keeper = keeper_new(r);
		keeper_start(r->keeper);
	}
	if (!r->once && r->config->verify_interval > 0)
		r->verifier = verifier_new(r, start->verify);
	if (*r->config->outbox_delete_by_query)
		r->sweeper = sweeper_new(r, start->sweep);
}

static void parts_done(struct relay *r)
{
	ev_timer *timers[] = { &r->pump, &r->stop_limit, &r->limit, &r->tick };
	ev_signal *signals[] = { &r->term, &r->intr, &r->usr1 };

	for (int i = 0; i < r->worker_count; i++)
		worker_free(r->workers[i]);
	admin_free(r->admin);
	verifier_free(r->verifier);
	sweeper_free(r->sweeper);
	keeper_free(r->keeper);
	service_free(r->service);
	health_stop(r);
	for (size_t i = 0; i < array_len(timers); i++)
		ev_timer_stop(r->loop, timers[i]);
	for (size_t i = 0; i < array_len(signals); i++)
		ev_signal_stop(r->loop, signals[i]);
	paused_done(&r->paused);
}

static void log_end(const struct relay *r)
{
	const int64_t *f = r->tally.fates;

	log_info(r->once ? "drained" : "stopped", kv_int("exit", r->exit_code),
		 kv_int("claimed", r->tally.claimed), kv_int("delivered", f[FATE_DELIVERED]),
		 kv_int("superseded", f[FATE_SUPERSEDED]), kv_int("dead", tally_fate(&r->tally, FATE_DEAD)),
		 kv_int("waiting", f[FATE_WAITING]), kv_int("returned", f[FATE_RETURNED]),
		 kv_int("requests", r->tally.requests),
		 kv_real("seconds", (double)(clock_boot_ms() - r->started_ms) / 1000.0));
}

int relay_run(const struct relay_start *start, struct err *e)
{
	const struct config *config = start->config;
	bool once = start->once;
	struct relay relay = {
		.config = config, .once = once, .version = start->version, .watcher = start->watcher
	};
	struct http_settings settings = http_settings_of(config, start->version);

	relay.started_ms = relay.moved_ms = clock_boot_ms();
	decisions_init(&relay);
	relay.outbox = outbox_new(config, e);
	if (!relay.outbox)
		return err_exit_code(e->kind);
	relay.loop = ev_default_loop(EVFLAG_AUTO);
	relay.http = http_new(relay.loop, &settings, e);
	if (!relay.http) {
		outbox_free(relay.outbox);
		return err_exit_code(e->kind);
	}
	log_info("started", kv_str("version", start->version), kv_str("table", config->outbox_table),
		 kv_int("workers", config->relay_workers), kv_bool("once", once));
	if (!once && !admin_new(&relay, &relay.admin, e)) {
		http_free(relay.http);
		outbox_free(relay.outbox);
		return err_exit_code(e->kind);
	}
	parts_init(&relay, start);
	ev_run(relay.loop, 0);
	parts_done(&relay);
	log_end(&relay);
	http_free(relay.http);
	outbox_free(relay.outbox);
	ev_loop_destroy(relay.loop);
	return relay.exit_code;
}

void relay_add_version(struct buf *out)
{
	buf_addf(out, "libev %d.%d", ev_version_major(), ev_version_minor());
}
