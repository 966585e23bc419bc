// SPDX-License-Identifier: MIT
#include "cmd/verify.h"

#include "base/clock.h"
#include "base/parse.h"
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "cmd/progress.h"
#include "cmd/table.h"
#include "es/http_sync.h"

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

static void report_json(const struct verify *v, const struct verified *sums, double seconds)
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
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(root);
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

static bool run(const struct call *call, struct verify *v, struct http_sync *http, struct verified *sums,
		struct err *e)
{
	struct doubts *d = doubts_new(v, http, sums, call->repair,
				      call->timeout_ms > 0 ? call->timeout_ms : PATIENCE_MS);
	struct watch w = { .sums = sums };
	int64_t started_ms = clock_boot_ms();
	double seconds;
	bool ok;

	interrupt_catch();
	progress_start(&w.progress, "verify", -1);
	ok = verify_scan(v, http, d, sums, call->rate, show, &w, e);
	progress_end(&w.progress);
	if (ok && interrupt_came())
		ok = err_set(e, ERR_UNAVAILABLE, "verify: interrupted, so this is not all");
	doubts_free(d);
	seconds = (double)(clock_boot_ms() - started_ms) / 1000;
	if (!ok && sums->repaired > 0)
		fprintf(stderr, "verify: %" PRId64 " events of kind repair were written before\n",
			sums->repaired);
	if (!ok)
		return false;
	if (call->json)
		report_json(v, sums, seconds);
	else
		report_text(call, v, sums, seconds);
	return true;
}

static bool verify(const struct call *call, int sample, struct verified *sums, struct err *e)
{
	const struct source_spec spec = command_source(call);
	struct http_settings settings = http_settings_of(call->config, call->version);
	struct verify *v = verify_open(call->config, &spec, call->except, sample, e);
	struct http_sync *http;
	bool ok;

	settings.answer_max = ANSWER_MAX;
	http = v ? http_sync_new(&settings, e) : NULL;
	ok = http && run(call, v, http, sums, e);
	http_sync_free(http);
	verify_close(v);
	return ok;
}

int cmd_verify(const struct call *call, struct err *e)
{
	struct verified sums = { 0 };
	int sample = VERIFY_ALL, code = 0;

	if (call->word_count == 0)
		err_set(e, ERR_USAGE, "verify: name the table; `outboxd track` lists what is tracked");
	else if (!call->sample || read_sample(call->sample, &sample, e))
		(void)verify(call, sample, &sums, e);
	if (e->kind != ERR_NONE)
		code = err_exit_code(e->kind);
	else if (differences(&sums) > sums.repaired)
		code = EX_DATAERR;
	else if (sums.waiting > 0)
		code = EX_TEMPFAIL;
	for (int i = 0; i < sums.sample_count; i++)
		free(sums.samples[i].key);
	return code;
}
