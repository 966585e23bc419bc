// SPDX-License-Identifier: MIT
// A worker's claim: from free lanes to rows, from rows to a request body, and back to free lanes.
#include "base/log.h"
#include "es/bulk.h"
#include "run/machine.h"
#include "run/sweeper.h"

#include <stdio.h>

// What was read and then replaced by something newer counts as so little of a request.
#define REPLACED_SHARE 16
// Claims that take longer to be read do not grow: the other documents of their lanes wait for them.
#define GROW_MS 1000

// A sweep is of all that are free.
static int64_t share_of_lanes(const struct relay *r, const struct lane_plan *plan)
{
	int most = r->pace.limits.workers_max;

	return r->pace.hungry && !plan->sweep ? (LANES + most - 1) / most : LANES;
}

static void describe_claim(struct worker *w, int64_t now_ms, struct claim *ret,
			   const char *paused[PAUSED_INDEXES_MAX])
{
	struct relay *r = w->relay;

	*ret = (struct claim){
		.plan = &w->plan,
		.lanes_wanted = share_of_lanes(r, &w->plan),
		.crowded = r->pace.crowded,
		.at_rest = !r->pace.hungry,
		.rows_wanted = r->pace.rows,
		.highest = r->highest,
		.paused = paused,
		.paused_count = paused_names(&r->paused, now_ms, paused),
		.sequence = r->sequence,
		.patience_ms = worker_patience_ms(r),
	};
}

void worker_act_claim(struct worker *w)
{
	struct relay *r = w->relay;
	const char *paused[PAUSED_INDEXES_MAX];
	struct claim claim;
	int64_t now_ms = clock_boot_ms();

	relay_probe_paused_indexes(r, now_ms);
	lanes_plan(&r->lanes, clock_boot_us(), &w->plan);
	if (!w->plan.alone)
		pace_looking(&r->pace, now_ms, w->plan.count == LANES, w->plan.sweep);
	else if (w->plan.round)
		pace_swept(&r->pace);
	w->lanes = 0;
	w->asked = w->granted = w->crowded = w->full = w->abandoned = w->impatient = w->busy = w->heard =
		w->accepted_any = w->broken = w->parked = w->sieve = w->failed = w->queries = false;
	w->rows = w->bytes = w->replaced = w->discarded = w->unbelieved = w->held = 0;
	w->read_ms = INT64_MAX;
	w->horizon = (struct horizon){ 0 };
	w->lone_refusals = w->lone_breaks = 0;
	w->stream_open = w->claiming = true;
	w->claimed_boot_ms = now_ms;
	if (w->plan.alone)
		relay_kick(r);
	else
		r->looking = w;
	describe_claim(w, now_ms, &claim, paused);
	outbox_claim(r->outbox, w->conn, &claim);
}

// The lanes stay reserved from the failed claim; the sieve takes their locks again in its own transaction.
void worker_act_sieve(struct worker *w)
{
	const char *paused[PAUSED_INDEXES_MAX];
	struct claim claim;

	w->sieve = w->committed = false;
	w->sieved = 0;
	lanes_plan_narrow(&w->plan, w->lanes);
	describe_claim(w, clock_boot_ms(), &claim, paused);
	claim.lanes_wanted = LANES;
	outbox_sieve(w->relay->outbox, w->conn, &claim);
}

void worker_act_resume(struct worker *w)
{
	conn_resume(w->conn);
}

static void lanes_known(struct worker *w, const struct pg_result *res, int row)
{
	struct lanes_taken taken;

	outbox_read_lanes(res, row, &taken);
	w->lanes = taken.lanes;
	w->drawn = taken.drawn;
	w->horizon.xmin = taken.xmin;
	w->horizon.epoch = w->plan.epoch;
	w->per_lane = taken.per_lane;
	w->granted = true;
	w->crowded = taken.crowded;
	lanes_granted(&w->relay->lanes, &w->plan, taken.lanes);
	lanes_met(&w->relay->lanes, &w->plan, taken.writer, taken.writers, taken.other, taken.others);
	// The claim statement walks the same way once more.
	if (w->plan.sweep)
		lanes_swept(&w->relay->lanes, w->plan.alone, clock_boot_us(),
			    2 * (clock_boot_us() - w->plan.started_us));
	if (w->relay->looking == w)
		w->relay->looking = NULL;
	// Where this look has found nothing, and nobody has called since it began, another one is not due: its end, a moment from now,
	// sets the time of the next.
	if (taken.lanes != 0 || w->relay->pace.woken)
		relay_kick(w->relay);
}

static bool append(struct worker *w, size_t number, const struct row *row, enum op op)
{
	const struct entry *older = op == OP_UPDATE ? batch_carried(w->batch, number) : NULL;
	size_t from = 0, to = 0;

	if (op != OP_UPDATE)
		return bulk_append(&w->body, row, op, w->relay->config->outbox_deletes == DELETES_TOMBSTONE);
	// What a delete leaves is nothing, whatever it is sent as.
	if (older && older->op != OP_DELETE) {
		to = older->end;
		from = older->start + bulk_below_action(w->body.data + older->start, to - older->start);
	}
	return bulk_append_part(&w->body, row, from, to);
}

// Not an event to be sent: it is refused, or it is a query, which a process of its own carries out.
static void take_refused(struct worker *w, const struct row *row, const struct refusal *why)
{
	struct slice query;
	struct refusal refusal;

	if (!row_is_query(row)) {
		batch_add_refused(w->batch, row, why);
	} else if (row_check_query(row, w->relay->config->outbox_delete_by_query, &query, &refusal)) {
		batch_add_query(w->batch, row, NULL);
		w->queries = true;
	} else {
		batch_add_query(w->batch, row, &refusal);
	}
}

// False = the body is full.
static bool take_row(struct worker *w, const struct row *row)
{
	size_t limit = (size_t)w->relay->pace.bytes, start = w->body.len, number;
	size_t before = batch_live_bytes(w->batch);
	int64_t live;
	struct refusal why = { .type = "document_too_large",
			       .reason = "larger than 256 MB with its action line" };
	bool held;
	enum op op;

	if (!row_check(row, &op, &why) ||
	    (op != OP_INDEX && !row_check_whole(row, op, w->relay->config->outbox_delete_by_query, &why))) {
		take_refused(w, row, &why);
		return true;
	}
	number = batch_add(w->batch, row, op, &held);
	if (held)
		return true;
	if (!append(w, number, row, op)) {
		batch_judge(w->batch, number, VERDICT_DEAD);
		batch_set_trouble(w->batch, number, 0, why.type, why.reason);
		return true;
	}
	batch_set_bytes(w->batch, number, start, w->body.len);
	live = (int64_t)batch_live_bytes(w->batch) - (int64_t)before;
	w->bytes += live;
	w->replaced += (int64_t)(w->body.len - start) - live;
	if (w->body.len > 2 * limit)
		batch_compact(w->batch, &w->body);
	return batch_live_bytes(w->batch) < limit;
}

static bool claim_row(struct worker *w, const struct pg_result *res, int n)
{
	struct row row;
	bool parked;

	outbox_read_row(w->relay->outbox, res, n, &row, &parked, &w->horizon.xmax);
	if (w->rows == 0)
		w->first_row_ms = clock_boot_ms();
	w->parked = w->parked || parked;
	w->rows++;
	lanes_row(&w->relay->lanes, row.lane, row.id);
	w->full = w->full || w->relay->lanes.lane[row.lane].rows >= w->per_lane;
	if (!w->abandoned)
		return take_row(w, &row);
	w->discarded++;
	lanes_returned(&w->relay->lanes, row.lane);
	return true;
}

bool worker_on_row(void *arg, int step, const struct pg_result *res, int row)
{
	struct worker *w = arg;

	if (w->state == W_INSPECTING)
		outbox_read_inspection(w->relay->outbox, step, res, row, &w->found);
	else if (w->state == W_CHECKING)
		w->left = value_get_bool(res, row, 0);
	else if (w->state == W_SIEVING && step == SIEVE_STEP_COUNT)
		w->sieved = value_get_int(res, row, 0);
	else if (w->state == W_CLAIMING && step == CLAIM_STEP_LANES)
		lanes_known(w, res, row);
	else if (w->state == W_SETTLING && step == w->settlement.hold)
		w->held = outbox_read_held(res, row);
	else if (step == CLAIM_STEP_ROWS && (w->state == W_CLAIMING || w->state == W_DISCARDING))
		return claim_row(w, res, row);
	return true;
}

// One line for all dead events of a claim, without their reasons: those may quote the document.
static void log_dead(const struct worker *w)
{
	size_t dead = batch_fates(w->batch, FATE_DEAD);

	for (size_t i = 0; i < batch_count(w->batch) && dead > 0; i++) {
		const struct trouble *t = batch_trouble(w->batch, i);

		if (batch_entry(w->batch, i)->fate != FATE_DEAD)
			continue;
		log_error("events_dead", kv_int("events", (int64_t)dead),
			  kv_int("first_id", batch_entry(w->batch, i)->id), kv_str("type", t ? t->type : ""),
			  kv_int("status", t ? t->status : 0),
			  kv_str("trace", batch_entry(w->batch, i)->trace), kv_str("see", "outboxd dead"));
		return;
	}
}

// Which of the conflicting rows were not believed only the table knows: the first one stands for them.
static void say_unbelieved(const struct worker *w)
{
	for (size_t i = 0; i < batch_count(w->batch); i++) {
		const struct entry *e = batch_entry(w->batch, i);

		if (e->conflict == 0)
			continue;
		relay_future(w->relay, e->id, e->conflict, w->drawn);
		return;
	}
}

// Which of the accepted rows the table does not say either; a counter must not go back.
static void count_held(struct worker *w)
{
	struct tally *t = &w->relay->tally;
	int64_t delivered = (int64_t)batch_fates(w->batch, FATE_DELIVERED);
	int64_t of_delivered = w->held < delivered ? w->held : delivered;

	t->fates[FATE_DELIVERED] -= of_delivered;
	t->fates[FATE_SUPERSEDED] -= w->held - of_delivered;
	t->fates[FATE_WAITING] += w->held;
}

// Now that nobody holds their rows.
static void hand_over_queries(const struct worker *w)
{
	for (size_t i = 0; i < batch_count(w->batch); i++) {
		const struct entry *e = batch_entry(w->batch, i);

		if (e->query && e->fate == FATE_WAITING)
			sweeper_take(w->relay->sweeper, e->id);
	}
}

static void count(struct worker *w, bool committed)
{
	struct tally *t = &w->relay->tally;

	t->claimed += w->rows;
	t->unmoved += committed ? (int64_t)batch_uncounted(w->batch) : 0;
	t->fates[FATE_RETURNED] += committed ? w->discarded : w->rows;
	for (int f = 0; f < FATE_COUNT_ && committed; f++)
		t->fates[f] += (int64_t)batch_fates(w->batch, (enum fate)f);
	if (committed && w->unbelieved > 0) {
		t->fates[FATE_SUPERSEDED] -= w->unbelieved;
		t->fates[FATE_WAITING] += w->unbelieved;
		say_unbelieved(w);
	}
	if (committed)
		count_held(w);
}

// From the application's clock to ours: a row from the future took no time.
static void observe_delivery(const struct worker *w)
{
	struct metrics *m = &w->relay->health.metrics;

	int64_t last_us = 0;

	for (size_t i = 0; i < batch_count(w->batch); i++) {
		const struct entry *e = batch_entry(w->batch, i);
		int64_t took_us = e->answered_us - e->created_us;

		if (e->fate != FATE_DELIVERED)
			continue;
		last_us = e->answered_us > last_us ? e->answered_us : last_us;
		if (e->created_us != 0)
			metrics_observe(m, METRIC_DELIVERY, took_us > 0 ? (double)took_us / 1e6 : 0);
	}
	if (last_us > 0)
		metrics_set(m, METRIC_LAST_DELIVERY, 0, (double)last_us / 1e6);
}

// Documents that replace each other leave few bytes to send, and had to be read all the same.
static int64_t weight(const struct worker *w)
{
	int64_t read = (w->bytes + w->replaced) / REPLACED_SHARE;

	return w->bytes > read ? w->bytes : read;
}

// What the claim says of the next ones.
static void adapt(struct worker *w)
{
	struct relay *r = w->relay;

	if (w->abandoned && !w->asked && w->rows > 0)
		pace_fewer_rows(&r->pace); // they came too late to be sent in time
	else
		pace_filled(&r->pace, w->rows, weight(w), w->full && w->read_ms <= GROW_MS);
	// Lanes without rows: they were of paused indexes, or the claim failed. That is nobody else's doing.
	pace_claimed(&r->pace, clock_boot_ms(), w->rows, w->full,
		     w->crowded && (w->rows > 0 || w->lanes == 0));
}

void worker_claim_ended(struct worker *w, bool committed)
{
	struct relay *r = w->relay;

	if (!w->claiming)
		return;
	w->claiming = w->stream_open = false;
	if (r->looking == w)
		r->looking = NULL;
	if (!w->granted) {
		lanes_granted(&r->lanes, &w->plan, 0);
		if (w->plan.sweep)
			lanes_swept(&r->lanes, w->plan.alone, clock_boot_us(),
				    clock_boot_us() - w->plan.started_us);
	}
	for (size_t i = 0; i < batch_count(w->batch) && committed; i++) {
		if (batch_entry(w->batch, i)->fate == FATE_RETURNED)
			lanes_returned(&r->lanes, batch_entry(w->batch, i)->lane);
	}
	if (committed) {
		if (!w->plan.alone)
			paused_looked(&r->paused, w->claimed_boot_ms);
		log_dead(w);
		observe_delivery(w);
		if (w->queries)
			hand_over_queries(w);
	}
	count(w, committed);
	lanes_release(&r->lanes, w->lanes,
		      committed   ? CLAIM_COMMITTED
		      : w->failed ? CLAIM_BROKEN
				  : CLAIM_RETURNED,
		      w->per_lane, w->horizon);
	if (!w->plan.alone)
		adapt(w);
	else if (w->rows > 0)
		pace_wake(&r->pace); // there may be more in its lane
	if (w->lanes || w->plan.alone)
		pace_released(&r->pace); // what a look left out because of us may be waiting
	if (r->once && w->rows == 0 && w->plan.count == LANES && conn_is_up(w->conn))
		r->maybe_done = true;
	if (w->impatient)
		relay_items_refused(r, w->busy);
	else if (w->heard)
		relay_items_taken(r);
	batch_reset(w->batch);
	worker_trim(w);
}
