// SPDX-License-Identifier: MIT
#include "run/verifier.h"

#include "base/log.h"
#include "base/mem.h"
#include "run/child.h"
#include "run/health.h"
#include "run/state.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_MS 300000
#define AGAIN_MS 60000 // events wait anyway now: later
#define DIFFERENCES 3  // labels of the metric

struct verifier {
	struct relay *relay;
	char *const *command;
	ev_timer timer;
	struct child child;
	int64_t begun_ms;
	json_t *tables; // of the last report that was read; NULL = none
	json_t *found;  // by table and index: what its last comparison found
	int64_t ended_ms;
};

static void plan(struct verifier *v, int64_t after_ms)
{
	ev_timer_stop(v->relay->loop, &v->timer);
	ev_timer_set(&v->timer, (double)after_ms / 1000.0, 0.);
	ev_timer_start(v->relay->loop, &v->timer);
}

static void failed(struct verifier *v, const char *table, const char *error)
{
	health_trouble(v->relay, TROUBLE_VERIFY, "verify_failed", error);
	log_warn("verify_failed", kv_str("table", table), kv_str("error", error),
		 kv_str("then", "the next one comes after verify.interval"));
}

// -- what it says

struct sums {
	json_int_t tables, rows, differences, waiting;
	bool all; // no table was left out
};

// Each table's own numbers are kept: one that cannot be compared now is not right for that.
static void add_table(struct verifier *v, const json_t *table, json_t *found, struct sums *sums)
{
	json_int_t missing = report_number(table, "missing"), stale = report_number(table, "stale"),
		   extra = report_number(table, "extra");
	const char *error = report_text(table, "error"), *left_out = report_text(table, "left_out");
	struct err name;

	err_set(&name, ERR_NONE, "%s %s", report_text(table, "table"), report_text(table, "index"));
	sums->tables++;
	if (*error || *left_out) {
		sums->all = false;
		if (*error)
			failed(v, report_text(table, "table"), error);
		else
			log_info("verify_left_out", kv_str("table", report_text(table, "table")),
				 kv_str("why", left_out));
		json_object_set(found, name.text, json_object_get(v->found, name.text));
		return;
	}
	json_object_set_new(found, name.text, json_pack("[I, I, I]", missing, stale, extra));
	sums->rows += report_number(table, "rows");
	sums->waiting += report_number(table, "waiting");
	sums->differences += missing + stale + extra;
	if (missing + stale + extra > 0)
		log_warn("index_differs", kv_str("table", report_text(table, "table")),
			 kv_int("missing", missing), kv_int("stale", stale), kv_int("extra", extra),
			 kv_str("see", "outboxd verify TABLE; --repair mends it"));
}

static void set_differences(const struct verifier *v)
{
	for (int d = 0; d < DIFFERENCES; d++) {
		json_int_t sum = 0;

		for (void *at = json_object_iter(v->found); at; at = json_object_iter_next(v->found, at))
			sum += json_integer_value(json_array_get(json_object_iter_value(at), (size_t)d));
		metrics_set(&v->relay->health.metrics, METRIC_DIFFERENCES, d, (double)sum);
	}
}

static void take(struct verifier *v, json_t *tables)
{
	struct metrics *m = &v->relay->health.metrics;
	struct sums sums = { .all = true };
	json_t *found = json_object();
	double seconds;

	for (size_t i = 0; i < json_array_size(tables); i++)
		add_table(v, json_array_get(tables, i), found, &sums);
	json_decref(v->found);
	json_decref(v->tables);
	v->found = found;
	v->tables = json_incref(tables);
	v->ended_ms = clock_boot_ms();
	seconds = (double)(v->ended_ms - v->begun_ms) / 1000.0;
	set_differences(v);
	metrics_set(m, METRIC_VERIFY_SECONDS, 0, seconds);
	if (sums.all)
		metrics_set(m, METRIC_VERIFIED, 0, (double)clock_wall_us() / 1e6);
	log_info("verified", kv_int("tables", sums.tables), kv_int("rows", sums.rows),
		 kv_int("differences", sums.differences), kv_int("waiting", sums.waiting),
		 kv_real("seconds", seconds));
}

json_t *verifier_report(const struct verifier *v)
{
	if (!v || !v->tables)
		return json_null();
	return json_pack("{s:f, s:O}", "ended_seconds_ago", (double)(clock_boot_ms() - v->ended_ms) / 1000.0,
			 "tables", v->tables);
}

// -- the process

static void on_end(void *arg, json_t *report, const char *why)
{
	struct verifier *v = arg;

	if (v->relay->stopping)
		return; // whoever stops us stops it, too
	if (json_is_array(report))
		take(v, report);
	else
		failed(v, "", why);
	plan(v, v->relay->config->verify_interval);
}

static void begin(struct verifier *v)
{
	int failure;

	v->begun_ms = clock_boot_ms();
	failure = child_begin(&v->child, v->command, v->relay->config->postgres_dsn);
	if (failure == 0)
		return;
	failed(v, "", strerror(failure));
	plan(v, v->relay->config->verify_interval);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct verifier *v = timer->data;
	const struct relay *r = v->relay;

	(void)loop;
	(void)revents;
	if (r->elasticsearch.open || r->postgres.open || r->sql.open || r->unfit || r->on_hold)
		plan(v, AGAIN_MS < r->config->verify_interval ? AGAIN_MS : r->config->verify_interval);
	else if (!r->stopping)
		begin(v);
}

struct verifier *verifier_new(struct relay *r, char *const *command)
{
	struct verifier *v = mem_calloc(1, sizeof(*v));
	int64_t interval_ms = r->config->verify_interval;

	v->relay = r;
	v->command = command;
	ev_init(&v->timer, on_timer);
	child_init(&v->child, r->loop, on_end, v);
	v->timer.data = v;
	metrics_set(&r->health.metrics, METRIC_VERIFY_INTERVAL, 0, (double)interval_ms / 1000.0);
	plan(v, FIRST_MS < interval_ms ? FIRST_MS : interval_ms);
	return v;
}

void verifier_free(struct verifier *v)
{
	if (!v)
		return;
	ev_timer_stop(v->relay->loop, &v->timer);
	child_done(&v->child);
	json_decref(v->tables);
	json_decref(v->found);
	free(v);
}
