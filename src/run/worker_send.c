// SPDX-License-Identifier: MIT
// A worker's requests and what their answers mean.
#include "base/log.h"
#include "es/bulk.h"
#include "run/machine.h"

#include <stdio.h>
#include <string.h>

#define PROBE_TIMEOUT_MS 5000
// A request is not begun when it could outlive the session that holds its rows.
#define SEND_MARGIN_MS 2000
// So many single events refused, by claims in which none was accepted: it is the endpoint, not the events.
#define LONE_REFUSALS_MAX 3
// A claim that looks like that goes on to see whether it accepts anything at all, but not for ever.
#define LONE_REFUSALS_OF_A_CLAIM 16
// A connection that breaks under a body of this size or more may be a proxy's limit.
#define LARGE_BODY (1024 * 1024)

void worker_act_probe(struct worker *w)
{
	w->relay->elasticsearch.probing = true;
	w->relay->prober = w;
	http_call_get(w->call, "/", PROBE_TIMEOUT_MS);
}

// What is set for all, or what the events of the request want beyond that.
static const char *refresh_text(const struct worker *w)
{
	enum refresh wanted = batch_range_refresh(w->batch, &w->range);
	enum refresh all = (enum refresh)w->relay->config->elasticsearch_refresh;

	return refresh_name(wanted > all ? wanted : all);
}

static struct slice range_bytes(const struct worker *w)
{
	size_t start, end;

	batch_range_bytes(w->batch, &w->range, &start, &end);
	return (struct slice){ w->body.data + start, end - start };
}

// What is sent for the range.
static struct slice request_of(const struct worker *w)
{
	if (batch_range_has_updates(w->batch, &w->range))
		return (struct slice){ w->merged.data, w->merged.len };
	return range_bytes(w);
}

void worker_act_send(struct worker *w)
{
	const struct config *c = w->relay->config;
	struct slice request = request_of(w);
	char path[256], header[320];
	const char *trace;

	bulk_path(path, sizeof(path), refresh_text(w), c->elasticsearch_timeout / 2);
	// One request carries events of many traces; the first one stands for them in Elasticsearch's own logs.
	trace = batch_range_trace(w->batch, &w->range);
	if (trace)
		snprintf(header, sizeof(header), "X-Opaque-Id: %s", trace);
	w->relay->tally.requests++;
	w->bytes += (int64_t)request.n -
		    (int64_t)range_bytes(w).n; // what updates grow to, for the next claim
	w->asked = true;
	http_call_post(w->call, path, request.p, request.n,
		       w->claimed_boot_ms + worker_patience_ms(w->relay) - SEND_MARGIN_MS,
		       trace ? header : NULL);
}

static void abandon(struct worker *w)
{
	w->abandoned = true;
	batch_drop_ranges(w->batch);
}

static void describe_failure(const struct http_reply *reply, const struct bulk_error *error, char *out,
			     size_t cap)
{
	if (reply->fault != HTTP_FINE)
		snprintf(out, cap, "%s: %s", http_fault_name(reply->fault), reply->fault_text);
	else if (*reply->location)
		snprintf(out, cap,
			 "HTTP %d, redirected to %s (redirects are not followed: correct elasticsearch.url)",
			 reply->status, reply->location);
	else if (verdict_is_outdated(error->reason))
		snprintf(out, cap, "HTTP %d %s (this Elasticsearch is older than 7, which outboxd needs)",
			 reply->status, error->reason);
	else if (*error->type)
		snprintf(out, cap, "HTTP %d %s: %s", reply->status, error->type, error->reason);
	else
		snprintf(out, cap, "HTTP %d with an answer that is not Elasticsearch's", reply->status);
}

static void elasticsearch_failed(struct worker *w, const struct http_reply *reply,
				 const struct bulk_error *error)
{
	char why[1024];
	const struct failure failure = {
		.why = why,
		.retry_after_ms = reply->retry_after_ms,
		.silent = reply->fault == HTTP_UNREACHABLE,
	};

	describe_failure(reply, error, why, sizeof(why));
	relay_elasticsearch_failed(w->relay, &failure);
}

static void forgive_all(struct worker *w)
{
	for (size_t i = 0; i < batch_count(w->batch); i++) {
		const struct trouble *t = batch_trouble(w->batch, i);

		// Not those that were refused before sending: they have no status.
		if (batch_entry(w->batch, i)->verdict == VERDICT_DEAD && t && t->status != 0)
			batch_judge(w->batch, i, VERDICT_NONE);
	}
}

static void refuse_alone(struct worker *w, const struct http_reply *reply, const struct bulk_error *error)
{
	size_t entry = batch_sent_entry(w->batch, &w->range, 0);

	batch_judge(w->batch, entry, batch_blame(w->batch, entry, VERDICT_DEAD));
	batch_set_trouble(w->batch, entry, reply->status, *error->type ? error->type : "request_refused",
			  error->reason);
	if (reply->status != 400)
		return; // too large, and that says something of this event only
	describe_failure(reply, error, w->refusal, sizeof(w->refusal));
	if (++w->lone_refusals >= LONE_REFUSALS_OF_A_CLAIM && !w->accepted_any)
		abandon(w);
}

// All was tried: are the events to blame that were refused alone, or whoever refuses everything?
static void place_blame(struct worker *w)
{
	struct relay *r = w->relay;
	const struct failure failure = { .why = w->refusal, .retry_after_ms = -1, .silent = false };
	bool suspicious = w->lone_refusals > 0 && !w->accepted_any &&
			  w->lone_refusals + r->lone_refusals >= LONE_REFUSALS_MAX;

	if (w->broken && !w->abandoned)
		relay_elasticsearch_failed(r, &failure);
	if (suspicious) {
		forgive_all(w);
		relay_elasticsearch_failed(r, &failure);
	} else if (w->accepted_any) {
		r->lone_refusals = 0;
	} else {
		r->lone_refusals += w->lone_refusals;
	}
	w->lone_refusals = 0;
}

// Who stops, or was asked to pause, finishes what is in flight and begins nothing more.
bool worker_may_begin(const struct worker *w)
{
	const struct relay *r = w->relay;
	int64_t end_ms = clock_boot_ms() + r->config->elasticsearch_timeout + SEND_MARGIN_MS;

	return end_ms <= w->claimed_boot_ms + worker_patience_ms(r) && !r->stopping &&
	       (!r->on_hold || r->once);
}

void worker_trim(struct worker *w)
{
	size_t most = (size_t)w->relay->pace.limits.bytes_max * 2;

	buf_trim(&w->body, most);
	buf_trim(&w->merged, most);
}

enum worker_event worker_next(struct worker *w)
{
	const struct relay *r = w->relay;

	if (!worker_may_begin(w))
		abandon(w);
	while (batch_next(w->batch, &w->range)) {
		if (worker_is_too_much_to_read(w)) {
			batch_split(w->batch, &w->range);
			continue;
		}
		if (batch_range_reads(w->batch, &w->range) > 0)
			return E_READ;
		if (!batch_range_has_updates(w->batch, &w->range) || worker_merge(w))
			return E_SEND;
	}
	batch_body_sent(w->batch);
	worker_trim(w);
	if (w->stream_open)
		return w->abandoned ? E_DISCARD : E_MORE_ROWS;
	place_blame(w);
	batch_resolve(w->batch, r->config->retry_max_attempts);
	if (batch_fates(w->batch, FATE_RETURNED) < batch_count(w->batch))
		return E_SETTLE;
	return E_RELEASE;
}

void worker_request_failed(struct worker *w, const struct http_reply *reply, const struct bulk_error *error)
{
	if (reply->fault == HTTP_BROKEN && request_of(w).n >= LARGE_BODY)
		pace_slow(&w->relay->pace);
	w->asked = true; // or a probe that was answered would count more than this
	elasticsearch_failed(w, reply, error);
	abandon(w);
}

// The connection broke under this event before, and others went through since. Remembers it for the next time.
static bool breaks_again(struct relay *r, int64_t id)
{
	int i = 0, known = r->breakage_count < BREAKAGES_MAX ? r->breakage_count : BREAKAGES_MAX;
	bool again;

	while (i < known && r->breakages[i].id != id)
		i++;
	again = i < known && r->accepted > r->breakages[i].accepted;
	if (i == known)
		i = r->breakage_count++ % BREAKAGES_MAX;
	r->breakages[i] = (struct breakage){ .id = id, .accepted = r->accepted };
	return again;
}

// A large event alone in its request: it may be too large for something on the way, and then it would be sent first for
// ever. It waits, the others go on; if they go through it is to blame the next time, else it is an outage like any other.
static bool put_aside(struct worker *w, const struct http_reply *reply, const struct bulk_error *error)
{
	size_t entry = batch_sent_entry(w->batch, &w->range, 0);
	bool again;

	if (w->range.to - w->range.from > 1 || reply->fault != HTTP_BROKEN || request_of(w).n < LARGE_BODY ||
	    w->lone_breaks >= LONE_REFUSALS_OF_A_CLAIM)
		return false;
	w->lone_breaks++;
	w->broken = true;
	again = breaks_again(w->relay, batch_entry(w->batch, entry)->id);
	describe_failure(reply, error, w->refusal, sizeof(w->refusal));
	batch_judge(w->batch, entry, batch_blame(w->batch, entry, again ? VERDICT_ATTEMPT : VERDICT_ASIDE));
	batch_set_trouble(w->batch, entry, 0, "connection_broken", w->refusal);
	return true;
}

static struct judgement judge_request(struct worker *w, const struct http_reply *reply,
				      struct bulk_error *ret_error)
{
	size_t events = w->range.to - w->range.from;
	struct err unreadable;
	struct request_facts facts = {
		.fault = reply->fault != HTTP_FINE,
		.too_large_to_read = reply->fault == HTTP_TOO_LARGE,
		.status = reply->status,
		.type = ret_error->type,
		.reason = ret_error->reason,
		.items = events,
	};

	w->slow = false;
	w->server_errors = 0;
	if (!facts.fault && reply->status == 200) {
		facts.readable = bulk_decode(reply->body, reply->len, events, worker_judge_item, w,
					     &unreadable);
		if (!facts.readable)
			snprintf(ret_error->reason, sizeof(ret_error->reason), "%.500s", unreadable.text);
	} else if (!facts.fault) {
		bulk_error_read(reply->body, reply->len, ret_error);
	}
	return verdict_request(&facts);
}

static void act_on(struct worker *w, struct judgement j, const struct http_reply *reply,
		   const struct bulk_error *error)
{
	struct relay *r = w->relay;

	switch (j.verdict) {
	case VERDICT_DONE:
		w->heard = true;
		worker_judge_server_errors(w, reply->took_us);
		relay_elasticsearch_works(r);
		r->accepted++;
		w->broken = false;
		if (!w->slow)
			pace_good(&r->pace);
		break;
	case VERDICT_SPLIT:
		if (reply->status == 413)
			pace_too_large(&r->pace, (int64_t)request_of(w).n);
		batch_split(w->batch, &w->range);
		break;
	case VERDICT_DEAD:
		refuse_alone(w, reply, error);
		break;
	case VERDICT_PAUSE_INDEX: // only said of a single event
		worker_index_fault(w, batch_sent_entry(w->batch, &w->range, 0), error->type, error->reason);
		break;
	case VERDICT_NONE:
	case VERDICT_SUPERSEDED:
	case VERDICT_RETRY_ITEM:
	case VERDICT_ATTEMPT:
	case VERDICT_ASIDE:
	case VERDICT_SERVER:
	case VERDICT_RETRY_REQUEST:
	case VERDICT_PAUSE_ALL:
	case VERDICT_SOLO:
	case VERDICT_FUTURE:
	case VERDICT_COUNT_:
		if (!put_aside(w, reply, error))
			worker_request_failed(w, reply, error);
		break;
	}
}

static void observe(struct worker *w, struct judgement j, const struct http_reply *reply)
{
	struct metrics *m = &w->relay->health.metrics;
	enum bulk_outcome outcome = j.verdict == VERDICT_DONE    ? BULK_ACCEPTED
				    : j.verdict == VERDICT_SPLIT ? BULK_SPLIT
				    : j.verdict == VERDICT_DEAD || j.verdict == VERDICT_PAUSE_INDEX
					    ? BULK_REFUSED
					    : BULK_FAILED;
	metrics_add(m, METRIC_BULK, (int)outcome, 1);
	metrics_observe(m, METRIC_BULK_SECONDS, (double)reply->took_us / 1e6);
	metrics_observe(m, METRIC_BULK_BYTES, (double)request_of(w).n);
}

// Any word of its own is a sign of life; whether it takes events, the events will tell.
static enum worker_event judge_probe(struct worker *w, const struct http_reply *reply)
{
	const struct relay *r = w->relay;
	struct bulk_error error = { .type = "", .reason = "" };

	if (reply->fault == HTTP_FINE)
		bulk_error_read(reply->body, reply->len, &error);
	if (reply->fault != HTTP_FINE || reply->status == 502 || reply->status == 503 ||
	    reply->status == 504) {
		elasticsearch_failed(w, reply, &error);
		return E_NO_SIGN;
	}
	w->denied = reply->status == 401;
	relay_sign_of_life(w->relay, w->denied);
	if (w->denied)
		describe_failure(reply, &error, w->refusal, sizeof(w->refusal));
	return (r->on_hold && !r->once) || r->stopping ? E_HELD : E_ALIVE;
}

void worker_probe_unopposed(struct worker *w)
{
	if (w->denied)
		relay_elasticsearch_denies(w->relay, w->refusal);
	else
		relay_elasticsearch_works(w->relay);
}

void worker_on_reply(void *arg, const struct http_reply *reply)
{
	struct worker *w = arg;
	struct bulk_error error = { .type = "", .reason = "" };
	struct judgement j;

	w->relay->heard_ms = clock_boot_ms();
	if (w->state == W_PROBING) {
		worker_dispatch(w, judge_probe(w, reply));
		return;
	}
	if (w->state == W_READING) {
		worker_on_documents(w, reply);
		return;
	}
	w->answered_us = clock_wall_us();
	j = judge_request(w, reply, &error);
	observe(w, j, reply);
	act_on(w, j, reply, &error);
	if (w->slow || j.slow) {
		pace_slow(&w->relay->pace);
		metrics_add(&w->relay->health.metrics, METRIC_ERRORS, TROUBLE_BUSY, 1);
	}
	worker_dispatch(w, worker_next(w));
}
