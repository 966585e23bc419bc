// SPDX-License-Identifier: MIT
// Carries out one delete_by_query event. It may search only when all that is older was delivered: no older event of its index is
// left, and nobody is still writing one. While it waits or works it holds no lock and no transaction, but the time at which the event
// comes due again; two at once do the same thing twice.
#include "cmd/sweep.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "pg/desk.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define HOLD_MS 120000 // for whom no one sees die; more than any call takes
#define RENEW_MS 30000
#define PATIENCE_MS 2000   // what is older is mostly about to be delivered
#define STATEMENT_MS 60000 // or a server that is gone would hold up the queries behind this one
#define LOOK_MS 50
#define WAIT_MS 250 // then ever less often, up to retry.cap, LONGEST_MS at least
#define LONGEST_MS 3000
#define EDITED "edited" // in waits_for

// The columns of sweep_hold.sql after those of a row.
enum {
	HOLD_VERSION = 1,
	HOLD_INDEX = 2,
	HOLD_DOCUMENT = 7,
	HOLD_WAIT = 8,
	HOLD_WRITERS = 9,
	HOLD_WAITED = 10
};

static json_t *error_of(const char *type, const char *reason)
{
	json_t *error = json_object(), *text = json_string(reason);

	json_object_set_new(error, "type", json_string(type));
	json_object_set_new(error, "reason", text ? text : json_string("(not valid UTF-8)"));
	return error;
}

static struct pg_result *query(struct sweep *s, const char *sql, const char *const *params, int count,
			       struct err *e)
{
	return desk_write(s->desk, sql_query_sweep_settings, sql, params, count, e);
}

// Of the event that is carried out.
static const char *known(const struct sweep *s, int column)
{
	return s->of ? sync_text(s->of, 0, column) : NULL;
}

// Takes `error`. wait_ms < 0 = it is dead.
static bool hold(struct sweep *s, int64_t wait_ms, json_t *error, struct err *e)
{
	auto_free char *text = json_dumps(error, JSON_COMPACT);
	char wait[24];
	const char *const params[] = { s->id,
				       wait_ms < 0 ? NULL : wait,
				       text,
				       known(s, HOLD_DOCUMENT),
				       known(s, HOLD_VERSION),
				       known(s, HOLD_INDEX) };
	struct pg_result *res;

	snprintf(wait, sizeof(wait), "%" PRId64, wait_ms);
	json_decref(error);
	res = query(s, sql_query_sweep_hold, params, array_len(params), e);
	if (!res)
		return false;
	s->gone = sync_rows(res) == 0;
	s->held_ms = clock_boot_ms();
	if (s->of || s->gone) {
		sync_free(res);
		return true;
	}
	s->of = res;
	sync_row(res, 0, &s->row);
	s->waited_s = sync_int(res, 0, HOLD_WAITED);
	return true;
}

static bool hold_for_work(struct sweep *s, struct err *e)
{
	return hold(s, HOLD_MS,
		    error_of("delete_by_query_runs",
			     "what is older is waited for, or its documents are being deleted"),
		    e);
}

bool sweep_keep(struct sweep *s, struct err *e)
{
	if (interrupt_came())
		return err_set(e, ERR_UNAVAILABLE, "interrupted");
	if (clock_boot_ms() - s->held_ms > RENEW_MS && !hold_for_work(s, e))
		return false;
	return !s->gone || err_set(e, ERR_UNAVAILABLE, "somebody else has carried it out");
}

// -- what is older

// *writers: those that were seen first, less who has ended; taken and given. What they wrote is seen by the next statement.
static bool have_ended(struct sweep *s, char **writers, struct err *e)
{
	struct pg_result *res;

	if (*writers && strcmp(*writers, "[]") == 0)
		return true;
	res = query(s, sql_query_sweep_writers, (const char *const *)writers, 1, e);
	if (!res)
		return false;
	free(*writers);
	*writers = mem_strdup(sync_text(res, 0, 0));
	if (strcmp(*writers, "[]") != 0) {
		s->waits_for = "transaction";
		err_set(e, ERR_UNAVAILABLE,
			"a transaction that was writing to the outbox before has not ended (%s): it may hold an older event",
			sync_text(res, 0, 1));
	}
	sync_free(res);
	return !s->waits_for;
}

static bool are_delivered(struct sweep *s, struct err *e)
{
	const char *const params[] = { s->id, s->row.index.p };
	struct pg_result *res = query(s, sql_query_sweep_older, params, array_len(params), e);
	const char *older = res ? sync_text(res, 0, 0) : NULL;
	bool ok = res && !older;

	if (older) {
		s->waits_for = "older_event";
		err_set(e, ERR_UNAVAILABLE, "event %s of this index is older and not delivered yet", older);
	}
	sync_free(res);
	return ok;
}

// Patient only at the first look: other queries wait for this one.
static bool is_time(struct sweep *s, char **writers, struct err *e)
{
	int64_t until_ms = clock_boot_ms() + PATIENCE_MS;

	for (;;) {
		int64_t began_ms = clock_boot_ms(), took_ms;

		if (have_ended(s, writers, e) && are_delivered(s, e))
			return true;
		took_ms = clock_boot_ms() - began_ms;
		if (!s->waits_for || sync_int(s->of, 0, HOLD_WAIT) > 0 ||
		    clock_boot_ms() + took_ms >= until_ms || interrupt_came())
			return false;
		*e = (struct err){ 0 };
		s->waits_for = NULL;
		(void)poll(NULL, 0, took_ms > LOOK_MS ? (int)took_ms : LOOK_MS);
	}
}

// -- what becomes of it

static bool was_edited(struct sweep *s, struct err *e)
{
	s->waits_for = EDITED;
	return err_set(e, ERR_UNAVAILABLE, "it is not what it was when it was looked at");
}

static bool settle(struct sweep *s, struct err *e)
{
	const char *const params[] = { s->id, known(s, HOLD_DOCUMENT), known(s, HOLD_VERSION),
				       known(s, HOLD_INDEX) };
	bool keep = s->config->retention_keep > 0;
	struct pg_result *res = query(s, keep ? sql_query_sweep_settle : sql_query_sweep_settle_delete,
				      params, array_len(params), e);
	bool done = res && sync_rows(res) > 0;

	sync_free(res);
	return done || (res && was_edited(s, e));
}

static bool carry_out(struct sweep *s, char **writers, struct err *e)
{
	struct refusal why;

	// It was met under another configuration than ours: whoever meets it next decides.
	if (!row_check_query(&s->row, s->config->outbox_delete_by_query, &s->query, &why))
		return err_set(e, ERR_CONFIG, "%s", why.reason);
	return is_time(s, writers, e) && sweep_pass(s, e) && settle(s, e);
}

static int64_t next_wait_ms(const struct sweep *s)
{
	int64_t most = s->config->retry_cap > LONGEST_MS ? s->config->retry_cap : LONGEST_MS;
	int64_t wait = 2 * sync_int(s->of, 0, HOLD_WAIT);

	if (interrupt_came() || (s->waits_for && strcmp(s->waits_for, EDITED) == 0))
		return 0;
	return wait < WAIT_MS ? WAIT_MS : wait > most ? most : wait;
}

static bool wait_for_it(struct sweep *s, const char *writers, const struct err *why, struct err *e)
{
	bool future = s->waits_for && strcmp(s->waits_for, SWEEP_FUTURE) == 0; // as `check` looks for it
	json_t *error = error_of(future ? SWEEP_FUTURE : "delete_by_query_waits", why->text),
	       *list = json_loads(writers ? writers : "", 0, NULL);
	int64_t wait_ms = next_wait_ms(s);

	json_object_set_new(error, "wait_ms", json_integer(wait_ms));
	if (list)
		json_object_set_new(error, "writers", list);
	return hold(s, wait_ms, error, e);
}

static bool bury(struct sweep *s, const struct err *why, struct err *e)
{
	json_t *error = error_of(s->type, why->text);

	if (s->status > 0)
		json_object_set_new(error, "status", json_integer(s->status));
	return hold(s, -1, error, e);
}

// The reason may hold words of the servers, which quote documents. This may be logged.
static const char *waits_for(const struct sweep *s, const struct err *why)
{
	if (interrupt_came())
		return "interrupted";
	if (s->waits_for)
		return s->waits_for;
	return (why->kind == ERR_REFUSED || why->kind == ERR_CONFIG) && !*why->sqlstate ? "refused"
											: "server";
}

static void report(const struct call *call, const struct sweep *s, const char *outcome, const struct err *why,
		   double seconds)
{
	json_t *root = json_pack("{s:I, s:s, s:I, s:I, s:f, s:i}", "event",
				 (json_int_t)strtoll(s->id, NULL, 10), "outcome", outcome, "deleted",
				 (json_int_t)s->deleted, "newer", (json_int_t)s->newer, "seconds", seconds,
				 "status", s->status);

	json_object_set_new(root, "type", json_string(*why->sqlstate ? why->sqlstate : s->type));
	if (s->of) {
		json_object_set_new(root, "index", json_string(s->row.index.p));
		json_object_set_new(root, "waited_seconds", json_integer(s->waited_s));
	}
	if (why->kind != ERR_NONE) {
		json_object_set_new(root, "reason", json_string(why->text));
		json_object_set_new(root, "waits_for", json_string(waits_for(s, why)));
	}
	if (call->json)
		json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	else
		printf("event %s: %s, %" PRId64 " documents deleted, %" PRId64
		       " newer ones left, in %.1f s%s%s",
		       s->id, outcome, s->deleted, s->newer, seconds, why->kind != ERR_NONE ? ": " : "",
		       why->text);
	putchar('\n');
	json_decref(root);
}

// It was refused for good, or something is in the way.
static bool put_back(struct sweep *s, const char *writers, struct err *why, const char **ret_outcome,
		     struct err *e)
{
	*ret_outcome = "dead";
	if (s->refused && !bury(s, why, e))
		return false;
	if (s->refused && !s->gone)
		return true;
	if (s->refused)
		(void)was_edited(s, why);
	*ret_outcome = "waits";
	return wait_for_it(s, writers, why, e);
}

// Returns the exit code.
static int sweep(const struct call *call, struct sweep *s, struct err *e)
{
	int64_t began_ms = clock_boot_ms();
	auto_free char *writers = NULL;
	struct err why = { 0 };
	const char *outcome = "delivered";

	if (!hold_for_work(s, e))
		return err_exit_code(e->kind);
	if (s->of && sync_text(s->of, 0, HOLD_WRITERS))
		writers = mem_strdup(sync_text(s->of, 0, HOLD_WRITERS));
	if (!s->gone && !carry_out(s, &writers, &why) && !s->gone) {
		if (!put_back(s, writers, &why, &outcome, e))
			return err_exit_code(e->kind);
	}
	report(call, s, s->gone ? "gone" : outcome, &why, (double)(clock_boot_ms() - began_ms) / 1000);
	if (s->gone)
		return 0;
	return why.kind == ERR_NONE ? 0 : strcmp(outcome, "dead") == 0 ? EX_DATAERR : EX_TEMPFAIL;
}

static bool is_id(const char *word)
{
	return word[*word == '-'] && !word[strspn(word, "-0123456789")] && strlen(word) < 20;
}

int cmd_sweep(const struct call *call, struct err *e)
{
	struct sweep s = { .config = call->config, .id = call->word_count > 0 ? call->words[0] : "" };
	struct http_settings settings = http_settings_of(call->config, call->version);
	int code;

	if (!is_id(s.id)) {
		err_set(e, ERR_USAGE, "sweep: name the event by its id");
		return err_exit_code(e->kind);
	}
	s.desk = desk_open(call->config, e);
	if (s.desk)
		desk_limit(s.desk, STATEMENT_MS);
	s.http = s.desk ? http_sync_new(&settings, e) : NULL;
	interrupt_catch();
	code = s.http ? sweep(call, &s, e) : err_exit_code(e->kind);
	if (e->kind != ERR_NONE && call->json)
		report(call, &s, "failed", e, 0);
	sync_free(s.of);
	http_sync_free(s.http);
	desk_close(s.desk);
	return code;
}
