// SPDX-License-Identifier: MIT
//
//   OFFLINE -> CONNECTING -> LISTENING -> RESTING <-> PURGING | COUNTING | ASKING (-> ROLLING_BACK)
#include "run/keeper.h"

#include "base/log.h"
#include "base/mem.h"
#include "run/diagram.h"
#include "run/retention.h"
#include "run/service.h"
#include "run/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 15000
#define SCRIPT_TIMEOUT_S 120
// The table is counted at most so often, and for a fiftieth of the time.
#define COUNT_LEAST_MS 5000
#define COUNT_MOST_MS 300000 // whoever was frozen in the midst of one does not know what it cost
#define COUNT_REST 49

#define KEEPER_STATES(X) \
	X(OFFLINE) X(CONNECTING) X(LISTENING) X(RESTING) X(PURGING) X(COUNTING) X(ASKING) X(ROLLING_BACK)
#define KEEPER_EVENTS(X) \
	X(CONNECT) X(UP) X(UP_DEAF) X(DOWN) X(DONE) X(FAILED) X(STANDBY) X(PURGE) X(COUNT) X(ASK) X(TIMEOUT)

enum keeper_state {
#define X(name) K_##name,
	KEEPER_STATES(X)
#undef X
};
enum keeper_event {
#define X(name) KE_##name,
	KEEPER_EVENTS(X)
#undef X
};

struct keeper {
	struct relay *relay;
	struct conn *conn;
	struct survey *survey;
	enum keeper_state state;
	struct backoff reconnect;
	ev_timer timer;
	struct err error;
	struct retention retention;
	int64_t count_ms;       // when it is due
	int64_t begun_ms;       // of the script that runs
	int failed_counts;      // in a row
	bool blind;             // said that counting fails
	struct question *first; // asked, or next
};

typedef void keeper_action(struct keeper *k);
static keeper_action connect_now, listen_now, test_wakeups, rest, purge_now, count_now, ask_now, roll_back,
	refused, retreat, drop;

static const struct keeper_rule {
	enum keeper_state from;
	enum keeper_event on;
	enum keeper_state to;
	keeper_action *act;
} rules[] = {
	{ K_OFFLINE, KE_CONNECT, K_CONNECTING, connect_now },
	{ K_CONNECTING, KE_UP, K_LISTENING, listen_now },
	{ K_CONNECTING, KE_UP_DEAF, K_RESTING, rest }, // [relay] notify = false
	{ K_CONNECTING, KE_DOWN, K_OFFLINE, refused },
	{ K_LISTENING, KE_DONE, K_RESTING, test_wakeups },
	{ K_LISTENING, KE_FAILED, K_RESTING, rest },  // a pooler may refuse LISTEN: polling goes on
	{ K_LISTENING, KE_STANDBY, K_OFFLINE, drop }, // it refuses LISTEN too, but may be promoted
	{ K_LISTENING, KE_DOWN, K_OFFLINE, retreat },
	{ K_LISTENING, KE_TIMEOUT, K_OFFLINE, drop },
	{ K_RESTING, KE_PURGE, K_PURGING, purge_now },
	{ K_RESTING, KE_DOWN, K_OFFLINE, retreat },
	{ K_PURGING, KE_DONE, K_RESTING, rest },
	{ K_PURGING, KE_FAILED, K_ROLLING_BACK, roll_back },
	{ K_PURGING, KE_DOWN, K_OFFLINE, retreat },
	{ K_PURGING, KE_TIMEOUT, K_OFFLINE, drop },
	{ K_RESTING, KE_COUNT, K_COUNTING, count_now },
	{ K_COUNTING, KE_DONE, K_RESTING, rest },
	{ K_COUNTING, KE_FAILED, K_ROLLING_BACK, roll_back },
	{ K_COUNTING, KE_DOWN, K_OFFLINE, retreat },
	{ K_COUNTING, KE_TIMEOUT, K_OFFLINE, drop },
	{ K_RESTING, KE_ASK, K_ASKING, ask_now },
	{ K_ASKING, KE_DONE, K_RESTING, rest },
	{ K_ASKING, KE_FAILED, K_ROLLING_BACK, roll_back },
	{ K_ASKING, KE_DOWN, K_OFFLINE, retreat },
	{ K_ASKING, KE_TIMEOUT, K_OFFLINE, drop },
	{ K_ROLLING_BACK, KE_DONE, K_RESTING, rest },
	{ K_ROLLING_BACK, KE_FAILED, K_OFFLINE, drop },
	{ K_ROLLING_BACK, KE_DOWN, K_OFFLINE, retreat },
	{ K_ROLLING_BACK, KE_TIMEOUT, K_OFFLINE, drop },
};

#define X(name) #name,
static const char *const state_names[] = { KEEPER_STATES(X) };
static const char *const event_names[] = { KEEPER_EVENTS(X) };
#undef X

// What comes next while nothing runs. What has been due for longest goes first, so that nothing starves.
static enum keeper_event next_event(struct keeper *k, int64_t *ret_due_ms)
{
	enum keeper_event next = KE_COUNT;
	int64_t retention_ms = retention_due_ms(&k->retention);

	*ret_due_ms = k->count_ms;
	if (retention_ms < *ret_due_ms) {
		*ret_due_ms = retention_ms;
		next = KE_PURGE;
	}
	if (k->first && k->first->asked_ms <= *ret_due_ms) {
		*ret_due_ms = k->first->asked_ms;
		next = KE_ASK;
	}
	return next;
}

static void arm(struct keeper *k)
{
	double after = k->state == K_CONNECTING ? 0 : SCRIPT_TIMEOUT_S; // conn has its own timer
	int64_t due_ms;

	if (k->state == K_OFFLINE) {
		after = (double)backoff_next(&k->reconnect, &k->relay->rng, -1) / 1000.0;
	} else if (k->state == K_RESTING) {
		(void)next_event(k, &due_ms);
		after = (double)(due_ms - clock_boot_ms()) / 1000.0;
		after = after > 0.001 ? after : 0.001;
	}
	ev_timer_stop(k->relay->loop, &k->timer);
	if (after > 0) {
		ev_timer_set(&k->timer, after, 0.);
		ev_timer_start(k->relay->loop, &k->timer);
	}
}

static void script_ended(struct keeper *k, bool ok);

static void dispatch(struct keeper *k, enum keeper_event on)
{
	static const struct keeper_rule lost = { .to = K_OFFLINE, .act = drop };
	const struct keeper_rule *rule = &lost;

	for (size_t i = 0; i < array_len(rules); i++) {
		if (rules[i].from == k->state && rules[i].on == on)
			rule = &rules[i];
	}
	if (rule == &lost)
		log_error("bug_no_rule", kv_str("machine", "keeper"), kv_str("state", state_names[k->state]),
			  kv_str("on", event_names[on]));
	k->state = rule->to;
	arm(k);
	rule->act(k);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct keeper *k = timer->data;
	int64_t due_ms;

	(void)loop;
	(void)revents;
	if (k->relay->stopping)
		return;
	if (k->state == K_OFFLINE) {
		dispatch(k, KE_CONNECT);
	} else if (k->state == K_RESTING) {
		enum keeper_event next = next_event(k, &due_ms);

		if (due_ms > clock_boot_ms()) {
			arm(k);
			return;
		}
		if (next != KE_PURGE)
			retention_waits(&k->retention);
		dispatch(k, next);
	} else {
		err_set(&k->error, ERR_UNAVAILABLE, "no answer from PostgreSQL in state %s",
			state_names[k->state]);
		script_ended(k, false);
		dispatch(k, KE_TIMEOUT);
	}
}

static void on_up(void *arg)
{
	struct keeper *k = arg;

	dispatch(k, k->relay->config->relay_notify ? KE_UP : KE_UP_DEAF);
}

static void on_down(void *arg, const struct err *e)
{
	struct keeper *k = arg;

	k->error = *e;
	script_ended(k, false);
	dispatch(k, KE_DOWN);
}

static bool on_row(void *arg, int step, const struct pg_result *res, int row)
{
	struct keeper *k = arg;

	if (k->state == K_PURGING && step == PURGE_STEP_ROWS)
		retention_read(&k->retention, res, row);
	else if (k->state == K_COUNTING)
		survey_read(res, step, row, &k->relay->health.counting.backlog,
			    &k->relay->health.counting.holder);
	else if (k->state == K_ASKING && step == SURVEY_STEP_ANSWER && k->first->row)
		k->first->row(k->first->arg, res);
	return true;
}

// One that met a lock, or lost its session, cost nothing.
static int64_t count_rest_ms(const struct keeper *k, bool ok)
{
	bool costly = ok || strcmp(k->error.sqlstate, "57014") == 0;
	int64_t rest_ms = costly ? COUNT_REST * (clock_boot_ms() - k->begun_ms) : 0;

	return rest_ms < COUNT_LEAST_MS ? COUNT_LEAST_MS : rest_ms > COUNT_MOST_MS ? COUNT_MOST_MS : rest_ms;
}

static void count_ended(struct keeper *k, bool ok)
{
	k->count_ms = clock_boot_ms() + count_rest_ms(k, ok);
	if (ok) {
		health_counted(k->relay);
		relay_look_for_wakeups(k->relay);
	}
	if (ok && k->blind)
		log_info("count_works", kv_str("table", k->relay->config->outbox_table));
	k->failed_counts = ok ? 0 : k->failed_counts + 1;
	// A session that was lost is told of by the workers, a table that is none, or not yet looked at, by the inspection.
	if (!ok && (k->relay->unfit || !k->relay->inspected))
		return;
	if (!ok && !k->blind && (k->failed_counts > 1 || k->error.sqlstate[0])) {
		health_trouble(k->relay, TROUBLE_COUNTING, "count_failed", k->error.text);
		log_warn("count_failed", kv_err(&k->error),
			 kv_str("then", "/metrics and /status show the last count; trying again"));
		k->blind = true;
	}
	k->blind = k->blind && !ok;
}

// Tells whoever asked; their callback may ask again. e: NULL = it went well.
static void question_ended(struct keeper *k, const struct err *e)
{
	struct question *q = k->first;

	k->first = q->next;
	if (q->done)
		q->done(q->arg, e);
	free(q);
}

// However it ended: also with its session. What failed is due again later, or it would keep the others from their turn.
static void script_ended(struct keeper *k, bool ok)
{
	if (k->state == K_PURGING)
		retention_ended(&k->retention, ok, &k->error);
	else if (k->state == K_COUNTING)
		count_ended(k, ok);
	else if (k->state == K_ASKING)
		question_ended(k, ok ? NULL : &k->error);
	else
		return;
	if (ok)
		backoff_reset(&k->reconnect); // a session that was good for something
}

static void on_done(void *arg, const struct script_result *result)
{
	struct keeper *k = arg;
	bool standby = !result->ok && strcmp(result->error.sqlstate, "25006") == 0;

	k->error = result->error;
	if (k->state == K_ASKING)
		k->first->unsure = false;
	script_ended(k, result->ok);
	dispatch(k, result->ok ? KE_DONE : standby && k->state == K_LISTENING ? KE_STANDBY : KE_FAILED);
}

// The first one is our own, sent by a worker: from then on wake-ups are known to work. One that came with the answer to
// something that we asked proves nothing: once more.
static void on_notified(void *arg, bool at_rest)
{
	struct keeper *k = arg;
	struct relay *r = k->relay;
	bool known = r->pace.notified;

	if (!known && at_rest && r->trigger)
		log_info("wakeups_work", kv_str("table", r->config->outbox_table));
	r->test_wakeups = r->test_wakeups || !(known || at_rest);
	r->pace.notified = r->trigger && (known || at_rest);
	metrics_add(&k->relay->health.metrics, METRIC_WAKEUPS, 0, 1);
	pace_wake(&k->relay->pace);
	relay_kick(k->relay);
}

static const struct conn_callbacks callbacks = {
	.up = on_up,
	.down = on_down,
	.row = on_row,
	.done = on_done,
	.notified = on_notified,
};

struct keeper *keeper_new(struct relay *r)
{
	struct keeper *k = mem_calloc(1, sizeof(*k));
	struct err e;

	k->relay = r;
	k->survey = survey_new(r->config, &e);
	assert(k->survey); // outbox_new read the same mapping before
	retention_init(&k->retention, r);
	k->conn = conn_new(r->loop, r->config->postgres_dsn, &callbacks, k);
	k->reconnect = (struct backoff){ .base_ms = r->config->retry_base,
					 .cap_ms = relay_reconnect_cap_ms(r) };
	ev_init(&k->timer, on_timer);
	k->timer.data = k;
	return k;
}

static void fail_questions(struct keeper *k)
{
	while (k->first)
		question_ended(k, &k->error);
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	ev_timer_stop(k->relay->loop, &k->timer);
	conn_free(k->conn);
	fail_questions(k);
	survey_free(k->survey);
	free(k);
}

void keeper_start(struct keeper *k)
{
	ev_feed_event(k->relay->loop, &k->timer, EV_TIMER);
}

void keeper_print_fsm(FILE *out)
{
	struct arrow arrows[array_len(rules)];

	for (size_t i = 0; i < array_len(arrows); i++)
		arrows[i] = (struct arrow){ .from = state_names[rules[i].from],
					    .to = state_names[rules[i].to],
					    .on = event_names[rules[i].on] };
	diagram_print(out, arrows, array_len(arrows));
}

static void connect_now(struct keeper *k)
{
	service_beat(k->relay->service);
	conn_open(k->conn, CONNECT_TIMEOUT_MS);
}

static void listen_now(struct keeper *k)
{
	outbox_listen(k->relay->outbox, k->conn);
}

// Listening: now somebody else must notify us. From our own session it would prove nothing, since a transaction
// pooler hands over what arrives while we hold a server connection.
static void test_wakeups(struct keeper *k)
{
	k->relay->test_wakeups = true;
	relay_kick(k->relay);
	rest(k);
}

static void rest(struct keeper *k)
{
	(void)k; // the timer that arm() set starts what is due next
}

static void purge_now(struct keeper *k)
{
	retention_run(&k->retention, k->conn);
}

static void count_now(struct keeper *k)
{
	k->begun_ms = clock_boot_ms();
	survey_count(k->survey, k->conn);
}

bool keeper_ask(struct keeper *k, struct question *q)
{
	struct question **end = &k->first;

	if (k->state == K_OFFLINE || k->state == K_CONNECTING)
		return false;
	while (*end)
		end = &(*end)->next;
	q->next = NULL;
	q->asked_ms = clock_boot_ms();
	*end = q;
	if (k->state == K_RESTING)
		ev_feed_event(k->relay->loop, &k->timer, EV_TIMER);
	return true;
}

void keeper_forget(struct keeper *k, struct question *q)
{
	q->row = NULL;
	q->done = NULL;
	if (q->unsure)
		return; // it is under way
	for (struct question **at = &k->first; *at; at = &(*at)->next) {
		if (*at != q)
			continue;
		*at = q->next;
		free(q);
		return;
	}
}

static void ask_now(struct keeper *k)
{
	struct question *q = k->first;

	q->unsure = true;
	q->begun_ms = clock_boot_ms();
	survey_ask(k->survey, k->conn, q->what, q->number, q->ids);
}

// A transaction that failed and is left open hears no notification, and nothing else can be asked in it.
static void roll_back(struct keeper *k)
{
	outbox_rollback(k->relay->outbox, k->conn);
}

// The workers tell of outages; this one only falls back to fast polling.
static void retreat(struct keeper *k)
{
	retention_interrupted(&k->retention);
	fail_questions(k);
	k->relay->pace.notified = false;
	pace_wake(&k->relay->pace);
	relay_kick(k->relay);
}

// Workers may be connected all the same: a limit on connections, for one.
static void refused(struct keeper *k)
{
	(void)relay_session_refused(k->relay, &k->error);
	retreat(k);
}

static void drop(struct keeper *k)
{
	conn_close(k->conn);
	retreat(k);
}
