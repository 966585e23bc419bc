// SPDX-License-Identifier: MIT
// Life of a worker and its dispatch; the transitions are rows in worker_rules.c:
//
//   OFFLINE -> CONNECTING -> INSPECTING -> IDLE -> CLAIMING <-> SENDING -> SETTLING -> IDLE (READING before SENDING: updates)
#include "run/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "pg/sqlstate.h"
#include "run/machine.h"
#include "run/service.h"

#include <string.h>

// Within this time over one request's own a claim must have begun its last request; after both the server ends it, and
// whoever was frozen so long finds its session gone. The sum stays below the 60 s for which Elasticsearch remembers a
// delete (index.gc_deletes), so that no request outlives its claim and a delete that came after.
#define PATIENCE_EXTRA_MS 15000
#define BODY_MAX ((size_t)256 * 1024 * 1024)
#define CONNECT_TIMEOUT_MS 15000
#define SILENCE_MARGIN_MS 5000

int64_t worker_patience_ms(const struct relay *r)
{
	return r->config->elasticsearch_timeout + PATIENCE_EXTRA_MS;
}

// Timer of a state, computed here and nowhere else.
static void arm(struct worker *w)
{
#define X(name, timeout) [W_##name] = (timeout),
	static const double seconds[] = { WORKER_STATES(X) };
#undef X
	double after = seconds[w->state];
	double patience = (double)(worker_patience_ms(w->relay) + SILENCE_MARGIN_MS) / 1000.0;

	// The server ends a claim after its patience; one that is silent for longer is frozen, or cut off.
	if ((w->state == W_CLAIMING || w->state == W_DISCARDING) && after > patience)
		after = patience;
	if (w->state == W_OFFLINE)
		after = (double)backoff_next(&w->reconnect, &w->relay->rng, -1) / 1000.0;
	ev_timer_stop(w->relay->loop, &w->timer);
	if (after > 0) {
		ev_timer_set(&w->timer, after, 0.);
		ev_timer_start(w->relay->loop, &w->timer);
	}
}

// The only place that changes a state.
void worker_dispatch(struct worker *w, enum worker_event on)
{
	static const struct worker_rule lost = { .to = W_OFFLINE, .act = worker_act_drop };
	const struct worker_rule *rule = worker_find_rule(w->state, on);

	if (!rule) {
		log_error("bug_no_rule", kv_int("worker", w->number),
			  kv_str("state", worker_state_text(w->state)), kv_str("on", worker_event_text(on)));
		rule = &lost;
	}
	log_debug("worker", kv_int("worker", w->number), kv_str("from", worker_state_text(w->state)),
		  kv_str("on", worker_event_text(on)), kv_str("to", worker_state_text(rule->to)));
	w->state = rule->to;
	arm(w);
	rule->act(w);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct worker *w = timer->data;

	(void)loop;
	(void)revents;
	if (w->state == W_OFFLINE && w->relay->stopping)
		return;
	if (w->state != W_OFFLINE)
		err_set(&w->error, ERR_UNAVAILABLE, "no answer from PostgreSQL in state %s",
			worker_state_text(w->state));
	worker_dispatch(w, w->state == W_OFFLINE ? E_CONNECT : E_TIMEOUT);
}

static void on_up(void *arg)
{
	worker_dispatch(arg, E_UP);
}

static void on_down(void *arg, const struct err *e)
{
	struct worker *w = arg;

	w->error = *e;
	w->refused = w->state == W_CONNECTING;
	worker_dispatch(w, E_DOWN);
}

static void on_paused(void *arg)
{
	struct worker *w = arg;

	batch_seal(w->batch, &w->body, (size_t)w->relay->pace.bytes);
	worker_dispatch(w, worker_next(w));
}

// What a failed script means: a lost session ends the connection, the rest is rolled back.
static void script_failed(struct worker *w, const char *what, const struct script_result *result)
{
	enum pg_action action = sqlstate_action(result->error.sqlstate);

	w->error = result->error;
	w->failed = true;
	w->sieve = action == PG_ROW && w->state == W_CLAIMING && result->failed_step == CLAIM_STEP_ROWS;
	if (strcmp(result->error.sqlstate, "57014") == 0)
		pace_fewer_rows(&w->relay->pace); // a mapping that needs more time than a claim has
	if (action == PG_RECONNECT) {
		conn_close(w->conn);
		worker_dispatch(w, E_DOWN);
		return;
	}
	w->look = !w->sieve && (action == PG_FIX || action == PG_ROW);
	if (!w->sieve)
		relay_sql_failed(w->relay, what, &result->error);
	worker_dispatch(w, E_SQL_FAILED);
}

static void claim_done(struct worker *w)
{
	w->stream_open = false;
	w->read_ms = clock_boot_ms() - w->first_row_ms;
	if (w->state == W_CLAIMING)
		batch_seal(w->batch, &w->body, (size_t)w->relay->pace.bytes);
	worker_dispatch(w, worker_next(w));
}

static void inspection_done(struct worker *w, const struct script_result *result)
{
	// What the first statement found says more than the error of the second.
	bool known = w->found.server_version != 0, fit;

	if (known) {
		conn_meet(w->conn, w->found.backend_pid);
		relay_postgres_up(w->relay);
	}
	fit = known && relay_inspected(w->relay, &w->found);
	if (!result->ok && (fit || !known))
		relay_sql_failed(w->relay, "inspect", &result->error);
	worker_dispatch(w, result->ok && fit ? E_FIT : E_UNFIT);
}

// Rows that we hold locked can only be missed by the mark when something else meddles, such as a trigger of the
// application that swallows the update: they would be delivered again and again, so somebody must know.
static void check_marks(struct worker *w, const struct script_result *result)
{
	struct err e = { 0 };
	int64_t rows = (int64_t)(batch_fates(w->batch, FATE_DELIVERED) +
				 batch_fates(w->batch, FATE_SUPERSEDED));

	const struct settlement *s = &w->settlement;
	int64_t marked = result->affected[s->mark];

	w->unbelieved = s->conflicts >= 0 ? result->affected[s->conflicts] : 0;
	if (!result->ok || marked == rows - w->unbelieved - w->held)
		return;
	w->failed = true;
	err_set(&e, ERR_REFUSED,
		"%lld delivered rows were not marked: look at the triggers and row security of the table",
		(long long)(rows - w->unbelieved - w->held - marked));
	relay_sql_failed(w->relay, "settle", &e);
}

static void on_done(void *arg, const struct script_result *result)
{
	struct worker *w = arg;
	const struct script_result copy = *result; // the next script overwrites it

	switch (w->state) {
	case W_INSPECTING:
		inspection_done(w, &copy);
		return;
	case W_CHECKING:
		if (!copy.ok) {
			script_failed(w, "check", &copy);
			return;
		}
		relay_left_known(w->relay, w->left);
		worker_dispatch(w, E_CHECKED);
		return;
	case W_WAKING:
		worker_dispatch(w, E_CHECKED); // whether it arrives is the keeper's to see
		return;
	case W_CLAIMING:
	case W_DISCARDING:
		if (copy.ok)
			claim_done(w);
		else
			script_failed(w, "claim", &copy);
		return;
	case W_SETTLING:
	case W_SIEVING:
		if (w->state == W_SETTLING)
			check_marks(w, &copy);
		if (w->state == W_SIEVING && outbox_committed(&copy))
			relay_sieved(w->relay, w->sieved);
		if (outbox_committed(&copy))
			worker_dispatch(w, E_SETTLED);
		else
			script_failed(w, w->state == W_SETTLING ? "settle" : "sieve", &copy);
		return;
	case W_ROLLING_BACK:
		worker_dispatch(w, !copy.ok   ? E_SQL_FAILED
				   : w->sieve ? E_SIEVE
				   : w->look  ? E_LOOK
					      : E_RELEASED);
		return;
	case W_OFFLINE:
	case W_CONNECTING:
	case W_IDLE:
	case W_PROBING:
	case W_READING:
	case W_SENDING:
	case W_STATE_COUNT_:
		break;
	}
	worker_dispatch(w, E_SETTLED); // no rule for it here: reported as a bug, the connection is dropped
}

static const struct conn_callbacks conn_callbacks = {
	.up = on_up,
	.down = on_down,
	.row = worker_on_row,
	.paused = on_paused,
	.done = on_done,
};

struct worker *worker_new(struct relay *r, int number)
{
	struct worker *w = mem_calloc(1, sizeof(*w));

	w->relay = r;
	w->number = number;
	w->conn = conn_new(r->loop, r->config->postgres_dsn, &conn_callbacks, w);
	w->call = http_call_new(r->http, worker_on_reply, w);
	w->batch = batch_new();
	buf_init(&w->body, BODY_MAX);
	buf_init(&w->merged, BODY_MAX);
	w->reconnect = (struct backoff){ .base_ms = r->config->retry_base,
					 .cap_ms = relay_reconnect_cap_ms(r) };
	ev_init(&w->timer, on_timer);
	w->timer.data = w;
	return w;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	ev_timer_stop(w->relay->loop, &w->timer);
	http_call_free(w->call);
	conn_free(w->conn);
	batch_free(w->batch);
	buf_done(&w->body);
	buf_done(&w->merged);
	free(w);
}

void worker_start(struct worker *w)
{
	ev_feed_event(w->relay->loop, &w->timer, EV_TIMER);
}

bool worker_is_connected(const struct worker *w)
{
	return w->state != W_OFFLINE && w->state != W_CONNECTING && w->state != W_INSPECTING;
}

bool worker_is_idle(const struct worker *w)
{
	return w->state == W_IDLE;
}

bool worker_is_quiet(const struct worker *w)
{
	return w->state == W_IDLE || w->state == W_OFFLINE || w->state == W_CONNECTING ||
	       w->state == W_INSPECTING;
}

bool worker_sweeps_alone(const struct worker *w)
{
	return w->claiming && w->plan.alone;
}

bool worker_is_settling(const struct worker *w)
{
	return w->state == W_SETTLING;
}

const char *worker_state_name(const struct worker *w)
{
	return worker_state_text(w->state);
}

void worker_claim(struct worker *w)
{
	worker_dispatch(w, E_GO);
}

void worker_probe(struct worker *w)
{
	worker_dispatch(w, E_PROBE);
}

void worker_wake_listeners(struct worker *w)
{
	worker_dispatch(w, E_WAKE);
}

void worker_check_left(struct worker *w)
{
	worker_dispatch(w, E_CHECK);
}

void worker_act_connect(struct worker *w)
{
	service_beat(w->relay->service);
	conn_open(w->conn, CONNECT_TIMEOUT_MS);
}

void worker_act_inspect(struct worker *w)
{
	w->found = (struct inspection){ 0 };
	outbox_inspect(w->relay->outbox, w->conn, w->relay->once && !w->relay->inspected);
}

static void probe_ended(struct worker *w)
{
	if (w->relay->prober != w)
		return;
	w->relay->prober = NULL;
	circuit_probe_ended(&w->relay->elasticsearch);
}

void worker_act_rest(struct worker *w)
{
	probe_ended(w);
	relay_kick(w->relay);
}

// The connection is gone: with it the transaction, its locks and its claim.
void worker_act_retreat(struct worker *w)
{
	http_call_cancel(w->call);
	probe_ended(w);
	worker_claim_ended(w, false);
	relay_postgres_down(w->relay, &w->error, w->refused);
	w->refused = false;
	relay_kick(w->relay);
}

void worker_act_drop(struct worker *w)
{
	conn_close(w->conn);
	worker_act_retreat(w);
}

// The database is there, but not as it should be: relay_inspected said so.
void worker_act_leave(struct worker *w)
{
	conn_close(w->conn);
	probe_ended(w);
	relay_kick(w->relay);
}

void worker_act_check(struct worker *w)
{
	w->left = true;
	outbox_left(w->relay->outbox, w->conn, w->relay->highest);
}

void worker_act_wake(struct worker *w)
{
	outbox_wake(w->relay->outbox, w->conn);
}

// Dropped and made again, altered, restored: what was found at the start may be another table by now.
void worker_act_look(struct worker *w)
{
	w->look = false;
	worker_claim_ended(w, false);
	worker_act_inspect(w);
}

static enum proof proof_of(const struct worker *w)
{
	if (w->committed)
		return PROOF_SETTLED;
	return w->rows == 0 && lanes_plan_is_whole(&w->plan) ? PROOF_EMPTY : PROOF_CLAIM;
}

void worker_act_finish(struct worker *w)
{
	worker_claim_ended(w, w->committed);
	if (!w->failed && !w->abandoned) {
		backoff_reset(&w->reconnect);
		relay_sql_works(w->relay, w->claimed_boot_ms, proof_of(w));
	}
	// It gave a sign of life and nothing was there to contradict it.
	if (w->relay->prober == w && !w->failed && !w->asked)
		worker_probe_unopposed(w);
	worker_act_rest(w);
}

void worker_act_rollback(struct worker *w)
{
	w->committed = false;
	outbox_rollback(w->relay->outbox, w->conn);
}

void worker_act_settle(struct worker *w)
{
	w->committed = true; // once this ends in E_SETTLED
	outbox_settle(w->relay->outbox, w->conn, w->batch, w->parked, &w->relay->rng, &w->settlement);
}
