// SPDX-License-Identifier: MIT
// `outboxd probe`: one event through the whole path, each step with its time, and nothing of it left behind.
#include "cmd/probe.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "cmd/check.h"
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "es/bulk.h"
#include "es/http_sync.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX "outboxd-probe"
#define TIMEOUT_MS 30000
#define CLEANUP_MS 10000 // the delete gets so long
#define PAUSE_MS 5
#define ANSWER_MS_MAX 10000

enum step { COMMITTED, DELIVERED, READABLE, SEARCHABLE, STEPS };
static const char *const step_names[] = { "committed", "delivered", "readable", "searchable" };

struct probe {
	const struct call *call;
	const char *index;
	char name[64]; // of the document, as the probe says it
	struct probe_table *table;
	struct http_sync *http;
	struct probe_event event, removal;
	bool existed;       // the index, before
	bool was_delivered; // so that there is a document to delete
	int64_t from_us;    // the times count from here
	int64_t deadline_ms;
	double ms[STEPS]; // below 0 = did not happen
	json_t *left;     // what could not be removed
};

static void leave(struct probe *p, const char *what, const struct err *why)
{
	auto_buf text = { 0 };

	buf_init(&text, 4096);
	buf_addf(&text, "%s: %s", what, why->text);
	json_array_append_new(p->left, json_string(buf_str(&text)));
}

// 2xx and 404 are answers; anything else is an error that says what is missing.
static bool ask(struct probe *p, const char *method, const char *path, const char *body, int *ret_status,
		json_t **ret, struct err *e)
{
	const struct http_reply *reply = http_sync_ask(p->http, method, path, body, ANSWER_MS_MAX);
	struct bulk_error why = { 0 };

	*ret_status = reply->status;
	if (reply->fault != HTTP_FINE)
		return err_set(e, ERR_UNAVAILABLE, "Elasticsearch: %s (%s)", http_fault_name(reply->fault),
			       reply->fault_text);
	if (reply->status / 100 == 2 || reply->status == 404) {
		if (ret)
			*ret = json_loadb(reply->body, reply->len, 0, NULL);
		return true;
	}
	bulk_error_read(reply->body, reply->len, &why);
	return err_set(e, reply->status >= 500 || reply->status == 429 ? ERR_UNAVAILABLE : ERR_REFUSED,
		       "Elasticsearch: HTTP %d %s: %s", reply->status, why.type, why.reason);
}

static char *document_path(const struct probe *p)
{
	auto_free char *document = http_path("/_doc/", p->event.document_id, "");
	auto_free char *path = http_path("/", p->index, document);
	struct buf routed;

	if (!p->event.routing)
		return http_path("/", p->index, document);
	buf_init(&routed, 64 * 1024);
	buf_addf(&routed, "%s?routing=", path);

	auto_free char *before = buf_take(&routed);

	return http_path(before, p->event.routing, "");
}

// Does the index exist? A role that may not know is told so: the index is then left alone.
static bool index_exists(struct probe *p, bool *ret_exists, struct err *e)
{
	auto_free char *path = http_path("/_resolve/index/", p->index, "");
	json_t *answer = NULL;
	int status;
	bool ok = ask(p, "GET", path, NULL, &status, &answer, e);

	*ret_exists = !ok || (status != 404 && resolved(answer));
	json_decref(answer);
	return ok || status == 403;
}

static bool is_delivered(struct probe *p, bool *ret_done, struct err *e)
{
	return probe_delivered(p->table, p->event.id, ret_done, e);
}

static bool is_removed(struct probe *p, bool *ret_done, struct err *e)
{
	return probe_delivered(p->table, p->removal.id, ret_done, e);
}

static bool is_readable(struct probe *p, bool *ret_done, struct err *e)
{
	auto_free char *path = document_path(p);
	int status;

	if (!ask(p, "GET", path, NULL, &status, NULL, e))
		return err_prefix(e, "it cannot be read (a probe needs the privilege `read` on %s)",
				  p->index);
	*ret_done = status == 200;
	return true;
}

// As soon as the index refreshes by itself: that is what those who search wait for.
static bool is_searchable(struct probe *p, bool *ret_done, struct err *e)
{
	auto_free char *path = http_path("/", p->index, "/_search");
	json_t *query = json_pack("{s:{s:{s:[s]}}}", "query", "ids", "values", p->event.document_id),
	       *found = NULL;
	auto_free char *body = query ? json_dumps(query, JSON_COMPACT) : NULL;
	int status;
	bool ok = ask(p, "POST", path, body, &status, &found, e);

	*ret_done = json_array_size(json_object_get(json_object_get(found, "hits"), "hits")) > 0;
	json_decref(found);
	json_decref(query);
	return ok;
}

typedef bool probe_look(struct probe *p, bool *ret_done, struct err *e);

// Looks until it is so.
static bool await(struct probe *p, probe_look *look, int64_t deadline_ms, bool *ret_done, struct err *e)
{
	*ret_done = false;
	while (look(p, ret_done, e) && !*ret_done) {
		if (interrupt_came() || clock_boot_ms() >= deadline_ms)
			return true;
		(void)poll(NULL, 0, PAUSE_MS);
	}
	return *ret_done;
}

static double elapsed_ms(const struct probe *p)
{
	return (double)(clock_boot_us() - p->from_us) / 1000.0;
}

static bool pass(struct probe *p, enum step step, probe_look *look, const char *advice, struct err *e)
{
	char limit[32];
	bool done;

	if (!await(p, look, p->deadline_ms, &done, e))
		return false;
	if (!done && interrupt_came())
		return err_set(e, ERR_UNAVAILABLE, "stopped by a signal before it was %s", step_names[step]);
	parse_format_duration(p->call->timeout_ms ? p->call->timeout_ms : TIMEOUT_MS, limit);
	if (!done)
		return err_set(e, ERR_UNAVAILABLE, "not %s within %s: %s", step_names[step], limit, advice);
	p->ms[step] = elapsed_ms(p);
	return true;
}

static bool go(struct probe *p, struct err *e)
{
	if (!index_exists(p, &p->existed, e))
		return false;
	*e = (struct err){ 0 };
	p->from_us = clock_boot_us();
	if (!probe_publish(p->table, p->index, p->name, NULL, &p->event, e))
		return false;
	p->ms[COMMITTED] = elapsed_ms(p);
	p->from_us = clock_boot_us();
	p->deadline_ms = clock_boot_ms() + (p->call->timeout_ms ? p->call->timeout_ms : TIMEOUT_MS);
	p->was_delivered = pass(
		p, DELIVERED, is_delivered,
		"is outboxd running? `systemctl status outboxd`; its log says what it waits for", e);
	return p->was_delivered && pass(p, READABLE, is_readable, "was it deleted by somebody?", e) &&
	       pass(p, SEARCHABLE, is_searchable, "see index.refresh_interval of the index", e);
}

// The way a delete of the application takes. False: it did not arrive, or the mapping knows no deletes.
static bool delete_by_event(struct probe *p)
{
	struct err ignored;
	bool done;

	return p->was_delivered &&
	       probe_publish(p->table, p->index, p->name, &p->event, &p->removal, &ignored) &&
	       await(p, is_removed, clock_boot_ms() + CLEANUP_MS, &done, &ignored) && done;
}

static void delete_directly(struct probe *p)
{
	auto_free char *path = document_path(p);
	struct err e = { 0 };
	int status;

	if (!ask(p, "DELETE", path, NULL, &status, NULL, &e))
		leave(p, "the document", &e);
}

static void clean_up(struct probe *p)
{
	auto_free char *path = http_path("/", p->index, "");
	bool by_event, tombstone = p->call->config->outbox_deletes == DELETES_TOMBSTONE;
	struct err e = { 0 };
	int status;

	if (!p->event.id)
		return;
	interrupt_forget(); // it ends the waiting, not the cleaning up
	by_event = delete_by_event(p);
	if (!probe_remove(p->table, (const int64_t[]){ p->event.id, p->removal.id }, 2, &e))
		leave(p, "its rows in the outbox", &e);
	if (!p->existed && !ask(p, "DELETE", path, NULL, &status, NULL, &e))
		leave(p, "the index (a probe needs the privilege `delete_index`)", &e);
	if (p->existed && (!by_event || tombstone))
		delete_directly(p);
}

static void print_text(const struct probe *p, const struct err *e)
{
	const json_t *left;
	size_t i;

	for (int s = 0; s < STEPS; s++) {
		if (p->ms[s] < 0) {
			if (e->text[0])
				printf("%-11s no\n", step_names[s]);
			break;
		}
		printf("%-11s %9.1f ms", step_names[s], p->ms[s]);
		if (s == COMMITTED)
			printf("  event %" PRId64 ", document %s in %s", p->event.id, p->event.document_id,
			       p->index);
		putchar('\n');
	}
	json_array_foreach(p->left, i, left)
	{
		printf("left behind  %s\n", json_string_value(left));
	}
	if (p->event.id && json_array_size(p->left) == 0)
		printf("cleaned up\n");
}

static void print_json(const struct probe *p, const struct err *e)
{
	json_t *out = json_pack("{s:s,s:O}", "index", p->index, "left_behind", p->left);

	json_object_set_new(out, "event", p->event.id ? json_integer(p->event.id) : json_null());
	json_object_set_new(out, "document", p->event.id ? json_string(p->event.document_id) : json_null());
	for (int s = 0; s < STEPS; s++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "%s_ms", step_names[s]);
		json_object_set_new(out, key, p->ms[s] < 0 ? json_null() : json_real(p->ms[s]));
	}
	json_object_set_new(out, "error", e->text[0] ? json_string(e->text) : json_null());
	json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(out);
}

static void name_document(struct probe *p)
{
	struct rng rng;

	rng_seed_from_system(&rng);
	(void)snprintf(p->name, sizeof(p->name), "outboxd-probe-%016" PRIx64, rng_next(&rng));
}

int cmd_probe(const struct call *call, struct err *e)
{
	struct http_settings settings = http_settings_of(call->config, call->version);
	struct probe p = { .call = call,
			   .index = call->index ? call->index : INDEX,
			   .ms = { -1, -1, -1, -1 } };
	bool ok;

	name_document(&p);
	interrupt_catch();
	p.left = json_array();
	p.table = probe_table_open(call->config, e);
	p.http = p.table ? http_sync_new(&settings, e) : NULL;
	ok = p.http && go(&p, e);
	if (p.http)
		clean_up(&p);
	if (call->json)
		print_json(&p, e);
	else if (p.http)
		print_text(&p, e);
	if (ok && json_array_size(p.left) > 0)
		ok = err_set(e, ERR_REFUSED, "the probe went through, but something of it is left behind");
	probe_event_done(&p.event);
	probe_event_done(&p.removal);
	json_decref(p.left);
	http_sync_free(p.http);
	probe_table_close(p.table);
	return ok ? 0 : err_exit_code(e->kind);
}
