// SPDX-License-Identifier: MIT
#include "cmd/verify.h"

#include "base/clock.h"
#include "base/parse.h"
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "cmd/progress.h"
#include "cmd/table.h"
#include "es/http_sync.h"
#include "pg/backfill.h"
#include "pg/desk.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define ANSWER_MAX ((size_t)128 * 1024 * 1024) // more than a document can be
#define PATIENCE_MS 60000

struct watch {
	struct progress progress;
	const struct verified *sums;
};

static void show(void *arg)
{
	struct watch *w = arg;

	progress_show(&w->progress, w->sums->rows + w->sums->ids);
}

// "10%" or "0.5%" of VERIFY_ALL.
static bool read_sample(const char *text, int *ret, struct err *e)
{
	char *end;
	double percent = strtod(text, &end);

	end += *end == '%';
	if (*end || !(percent >= 0.01 && percent <= 100))
		return err_set(e, ERR_USAGE, "--sample: \"%s\" is not between 0.01%% and 100%%", text);
	*ret = (int)(percent * VERIFY_ALL / 100 + 0.5);
	return true;
}

static int64_t differences(const struct verified *sums)
{
	int64_t n = 0;

	for (enum difference d = MISSING; d < DIFFERENCES; d++)
		n += sums->found[d];
	return n;
}

static json_t *as_json(const struct verify *v, const struct verified *sums, double seconds)
{
	json_t *root = json_object(), *samples = json_array();

	json_object_set_new(root, "table", json_string(verify_table(v)));
	json_object_set_new(root, "index", json_string(verify_index(v)));
	json_object_set_new(root, "rows", json_integer(sums->rows));
	json_object_set_new(root, "documents", json_integer(sums->documents));
	json_object_set_new(root, "ids", json_integer(sums->ids));
	for (enum difference d = MISSING; d < DIFFERENCES; d++)
		json_object_set_new(root, difference_name(d), json_integer(sums->found[d]));
	json_object_set_new(root, "waiting", json_integer(sums->waiting));
	json_object_set_new(root, "repaired", json_integer(sums->repaired));
	json_object_set_new(root, "seconds", json_real(seconds));
	for (int i = 0; i < sums->sample_count; i++)
		json_array_append_new(samples,
				      json_pack("{s:s, s:s}", "id", sums->samples[i].key, "difference",
						difference_name(sums->samples[i].what)));
	json_object_set_new(root, "samples", samples);
	return root;
}

static void report_text(const struct call *call, const struct verify *v, const struct verified *sums,
			double seconds)
{
	int64_t all = differences(sums);

	printf("%" PRId64 " rows of %s, %" PRId64 " documents, %" PRId64 " ids of the index, in %.1f s\n",
	       sums->rows, verify_table(v), sums->documents, sums->ids, seconds);
	if (!*verify_index(v))
		puts("documents that should not be there are not looked for: an id need not be a key (outbox.index, document_id or "
		     "routing is set), or the type of the key wants PostgreSQL 16");
	else if (verify_is_shared(v))
		puts("documents that should not be there are not looked for: the index has those of other tables, too");
	if (all == 0)
		puts("no difference");
	for (enum difference d = MISSING; d < DIFFERENCES; d++) {
		if (sums->found[d] > 0)
			printf("%-8s %" PRId64 "\n", difference_name(d), sums->found[d]);
	}
	for (int i = 0; i < sums->sample_count; i++) {
		printf("  %-8s ", difference_name(sums->samples[i].what));
		table_put_text(sums->samples[i].key);
		putchar('\n');
	}
	if (all > sums->sample_count)
		printf("  ... and %" PRId64 " more\n", all - sums->sample_count);
	if (sums->waiting > 0)
		printf("%" PRId64
		       " could not be judged: their events wait for delivery, or their rows are held; see `outboxd "
		       "status`\n",
		       sums->waiting);
	if (call->repair && sums->found[EXTRA] > 0 && !verify_is_tracked(v))
		puts("what has no row stays: the table is not tracked, and the index could have documents of others");
	if (sums->repaired > 0)
		printf("%" PRId64 " events of kind repair written\n", sums->repaired);
	else if (all > 0 && !call->repair)
		puts("--repair writes an event for each of them");
}

static void report(const struct call *call, const struct verify *v, const struct verified *sums,
		   double seconds, json_t *reports)
{
	if (call->json)
		json_array_append_new(reports, as_json(v, sums, seconds));
	else
		report_text(call, v, sums, seconds);
}

static bool run(const struct call *call, struct verify *v, struct http_sync *http, struct verified *sums,
		json_t *reports, struct err *e)
{
	struct doubts *d = doubts_new(v, http, sums, call->repair,
				      call->timeout_ms > 0 ? call->timeout_ms : PATIENCE_MS);
	struct watch w = { .sums = sums };
	int64_t started_ms = clock_boot_ms();
	bool ok;

	interrupt_catch();
	progress_start(&w.progress, "verify", -1);
	ok = verify_scan(v, http, d, sums, call->rate, show, &w, e);
	progress_end(&w.progress);
	if (ok && interrupt_came())
		ok = err_set(e, ERR_UNAVAILABLE, "verify: interrupted, so this is not all");
	doubts_free(d);
	if (ok)
		report(call, v, sums, (double)(clock_boot_ms() - started_ms) / 1000, reports);
	else if (sums->repaired > 0)
		fprintf(stderr, "verify: %" PRId64 " events of kind repair were written before\n",
			sums->repaired);
	return ok;
}

static bool compare(const struct call *call, const struct source_spec *spec, int sample,
		    struct verified *sums, json_t *reports, struct err *e)
{
	struct http_settings settings = http_settings_of(call->config, call->version);
	struct verify *v = verify_open(call->config, spec, call->except, sample, e);
	struct http_sync *http;
	bool ok;

	settings.answer_max = ANSWER_MAX;
	http = v ? http_sync_new(&settings, e) : NULL;
	ok = http && run(call, v, http, sums, reports, e);
	http_sync_free(http);
	verify_close(v);
	return ok;
}

// Returns the exit code.
static int verify_one(const struct call *call, const struct source_spec *spec, int sample, json_t *reports,
		      struct err *e)
{
	struct verified sums = { 0 };
	int code = 0;

	if (!compare(call, spec, sample, &sums, reports, e))
		code = err_exit_code(e->kind);
	else if (differences(&sums) > sums.repaired)
		code = EX_DATAERR;
	else if (sums.waiting > 0)
		code = EX_TEMPFAIL;
	for (int i = 0; i < sums.sample_count; i++)
		free(sums.samples[i].key);
	return code;
}

// What a report says of a table that has none; cut texts may end within a character.
static void add_note(json_t *reports, const struct source_spec *spec, const char *name, const char *why)
{
	char text[1024];

	utf8_copy(why, text, sizeof(text));
	json_array_append_new(reports, json_pack("{s:s, s:s, s:s}", "table", spec->table, "index",
						 spec->index, name, text));
}

// Returns the exit code of that table. One that cannot be compared is told, and is no reason to leave the others out.
static int verify_next_one(const struct call *call, const struct source_spec *spec, int sample,
			   json_t *reports)
{
	struct err e = { 0 };
	int code = verify_one(call, spec, sample, reports, &e);

	if (e.kind == ERR_NONE)
		return code;
	fprintf(stderr, "outboxd: %s\n", e.text);
	add_note(reports, spec, "error", e.text);
	return code;
}

// A table that is just being filled into an index is not yet to be there.
static bool is_being_filled(const struct pg_result *fills, const char *table, const char *index)
{
	for (int r = 0; fills && r < sync_rows(fills); r++) {
		if (strcmp(sync_text(fills, r, FILL_TABLE), table) == 0 &&
		    strcmp(sync_text(fills, r, FILL_INDEX), index) == 0)
			return strcmp(sync_text(fills, r, FILL_FINISHED), "no") == 0;
	}
	return false;
}

// A role that may not read what was begun does not know.
static struct pg_result *list_fills(const struct call *call, struct err *e)
{
	struct err why = { 0 };
	struct pg_result *fills = backfill_list(call->config, &why);

	if (why.kind != ERR_NONE && strcmp(why.sqlstate, "42501") != 0)
		*e = why;
	return fills;
}

static int verify_tracked(const struct call *call, int sample, json_t *reports, struct err *e)
{
	struct desk *d = desk_open(call->config, e);
	struct pg_result *tracked = d ? desk_query(d, sql_query_tracked, NULL, 0, e) : NULL;
	struct pg_result *fills = tracked ? list_fills(call, e) : NULL;
	int tables = tracked && e->kind == ERR_NONE ? sync_rows(tracked) : 0, done = 0, code = 0;

	desk_close(d);
	if (tracked && e->kind == ERR_NONE && tables == 0)
		err_set(e, ERR_USAGE, "verify: no table is tracked, so name one, and its index (--index)");
	for (; done < tables && !interrupt_came(); done++) {
		const struct source_spec spec = { .table = sync_text(tracked, done, 0),
						  .index = sync_text(tracked, done, 1) };
		int one;

		if (is_being_filled(fills, spec.table, spec.index)) {
			fprintf(stderr, "verify: %s is just being filled into %s: left out\n", spec.table,
				spec.index);
			add_note(reports, &spec, "left_out", "a backfill of it was begun and has not ended");
			continue;
		}
		one = verify_next_one(call, &spec, sample, reports);
		code = code == EX_DATAERR || one == 0 ? code : one;
	}
	if (done < tables)
		err_set(e, ERR_UNAVAILABLE, "verify: interrupted before %s", sync_text(tracked, done, 0));
	sync_free(fills);
	sync_free(tracked);
	return e->kind == ERR_NONE ? code : err_exit_code(e->kind);
}

static bool describes_a_table(const struct call *call)
{
	return call->index || call->key || call->view || call->columns || call->when;
}

int cmd_verify(const struct call *call, struct err *e)
{
	const struct source_spec spec = command_source(call);
	json_t *reports = json_array();
	int sample = VERIFY_ALL, code;
	bool usable = true;

	if (call->sample)
		usable = read_sample(call->sample, &sample, e);
	if (usable && !spec.table && describes_a_table(call))
		usable = err_set(e, ERR_USAGE, "verify: name the table as well");
	code = !usable      ? err_exit_code(e->kind)
	       : spec.table ? verify_one(call, &spec, sample, reports, e)
			    : verify_tracked(call, sample, reports, e);
	if (call->json && e->kind == ERR_NONE) {
		json_dumpf(spec.table ? json_array_get(reports, 0) : reports, stdout,
			   JSON_INDENT(2) | JSON_REAL_PRECISION(6));
		putchar('\n');
	}
	json_decref(reports);
	return code;
}
