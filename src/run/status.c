// SPDX-License-Identifier: MIT
// GET /status: everything that the page shows, as JSON.
#include "run/health.h"
#include "run/machine.h"
#include "run/verifier.h"

#include <jansson.h>
#include <string.h>

static double seconds_since(int64_t at_ms)
{
	return (double)(clock_boot_ms() - at_ms) / 1000.0;
}

static json_t *text(const char *s)
{
	json_t *value = json_string(s);

	return value ? value : json_string("(not UTF-8)");
}

static json_t *server(const struct relay *r, const struct circuit *c, enum trouble_kind kind)
{
	bool unheard = circuit_is_untested(c);
	int64_t since_ms = c->open ? c->opened_ms : c->closed_ms;

	return json_pack("{s:s, s:f, s:o}", "state",
			 unheard   ? "unknown"
			 : c->open ? "away"
				   : "up",
			 "since_seconds", seconds_since(since_ms ? since_ms : r->started_ms), "error",
			 text(c->open ? r->health.why[kind] : ""));
}

static json_t *quantiles(const struct relay *r, enum metric which, const struct histogram_counts *since)
{
	double half = metrics_quantile(&r->health.metrics, which, since, 0.5);

	if (half < 0)
		return json_null();
	return json_pack("{s:f, s:f}", "p50", half, "p99",
			 metrics_quantile(&r->health.metrics, which, since, 0.99));
}

static json_t *backlog(const struct relay *r)
{
	const struct health *h = &r->health;
	const struct backlog *b = &h->backlog;

	return json_pack("{s:b, s:I, s:I, s:I, s:f, s:f}", "known", b->known, "pending",
			 (json_int_t)b->pending, "waiting", (json_int_t)b->waiting, "dead",
			 (json_int_t)b->dead, "oldest_pending_seconds", health_lag(r), "counted_seconds_ago",
			 seconds_since(h->counted_ms ? h->counted_ms : r->started_ms));
}

static json_t *horizon(const struct relay *r)
{
	const struct horizon_holder *h = &r->health.holder;

	if (!*h->kind)
		return json_null();
	return json_pack("{s:s, s:I, s:o, s:o, s:f}", "kind", h->kind, "pid", (json_int_t)h->pid, "name",
			 text(h->name), "user", text(h->user), "age_seconds", h->age_seconds);
}

static json_t *events(const struct tally *t)
{
	json_t *object = json_pack("{s:I}", "claimed", (json_int_t)tally_claimed(t));

	for (int f = 0; f < FATE_COUNT_; f++)
		json_object_set_new(object, fate_name((enum fate)f),
				    json_integer(tally_fate(t, (enum fate)f)));
	return object;
}

static json_t *workers(const struct relay *r)
{
	json_t *list = json_array();

	for (int i = 0; i < r->worker_count; i++)
		json_array_append_new(list, json_pack("{s:i, s:s}", "number", i, "state",
						      worker_state_name(r->workers[i])));
	return list;
}

static json_t *paused_indexes(const struct relay *r)
{
	json_t *list = json_array();

	for (int i = 0; i < r->paused.count; i++) {
		const struct paused_index *p = &r->paused.item[i];

		json_array_append_new(list,
				      json_pack("{s:o, s:o, s:f}", "index", text(relay_paused_index(p->name)),
						"reason", text(p->why), "since_seconds",
						seconds_since(p->circuit.opened_ms)));
	}
	return list;
}

static json_t *last_errors(const struct health *h)
{
	json_t *list = json_array();

	for (int64_t n = h->noted; n > 0 && n > h->noted - HEALTH_NOTES; n--) {
		const struct note *note = &h->notes[(n - 1) % HEALTH_NOTES];

		json_array_append_new(list,
				      json_pack("{s:f, s:s, s:o}", "seconds_ago", seconds_since(note->at_ms),
						"event", note->event, "text", text(note->text)));
	}
	return list;
}

static json_t *reasons(const struct relay *r, bool *ret_ready)
{
	auto_buf lines = { 0 };
	json_t *list = json_array();

	buf_init(&lines, 4096);
	*ret_ready = health_ready(r, true, &lines);
	for (char *line = lines.len ? lines.data : NULL, *rest; line && *line; line = rest) {
		size_t len = strcspn(line, "\n");

		rest = line + len + (line[len] == '\n');
		line[len] = '\0';
		json_array_append_new(list, text(line));
	}
	return list;
}

char *health_status(struct relay *r)
{
	const struct health *h = &r->health;
	double last = metrics_get(&h->metrics, METRIC_LAST_DELIVERY, 0);
	json_t *dead = json_loads(h->backlog.dead_reasons ? h->backlog.dead_reasons : "[]", 0, NULL);
	bool ready;
	json_t *why = reasons(r, &ready);
	json_t *elastic = server(r, &r->elasticsearch, TROUBLE_ELASTICSEARCH);
	json_t *all;
	char *out;

	json_object_set_new(elastic, "url", text(r->config->elasticsearch_url));
	all = json_pack(
		"{s:s, s:o, s:f, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"version", r->version, "table", text(r->config->outbox_table), "uptime_seconds",
		seconds_since(r->started_ms), "paused", r->on_hold, "stopping", r->stopping, "ready", ready,
		"reasons", why, "postgres", server(r, &r->postgres, TROUBLE_POSTGRES), "elasticsearch",
		elastic, "backlog", backlog(r), "horizon", horizon(r), "events", events(&r->tally),
		"rate_per_second", health_rate(r), "delivery_seconds",
		quantiles(r, METRIC_DELIVERY, &h->delivery[0]), "bulk_seconds",
		quantiles(r, METRIC_BULK_SECONDS, &h->bulk[0]), "last_delivery_seconds_ago",
		last > 0 ? json_real((double)clock_wall_us() / 1e6 - last) : json_null(), "workers",
		workers(r), "paused_indexes", paused_indexes(r), "last_errors", last_errors(h),
		"dead_reasons", dead ? dead : json_array(), "verify", verifier_report(r->verifier));
	out = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(6));
	json_decref(all);
	return out;
}
