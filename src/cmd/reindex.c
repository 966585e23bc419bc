// SPDX-License-Identifier: MIT
// `outboxd reindex`: another index takes the place of the one behind an alias. From the first step on both are written, by
// triggers as `track` makes them; the new one is filled by `backfill` and proven by `verify`; then the alias moves, in one step.
//
// How far it is stands where it was done: the new index bears our mark, the triggers of the second index are there or not, the
// backfill has its row, the alias stands for one or the other. So an end at any point leaves search as it was, or as it is to be,
// and the same command goes on.
#include "cmd/reindex.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cmd/interrupt.h"
#include "cmd/verify.h"
#include "core/row.h"
#include "es/http_sync.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define NAME_MAX_BYTES ((size_t)1024)
#define PAUSE_MOST_MS 30000

bool reindexing_interrupted(struct err *e)
{
	return err_set(e, ERR_UNAVAILABLE, "interrupted; the same command goes on");
}

void reindexing_say(struct reindexing *x, const char *what)
{
	if (x->said != what)
		fprintf(stderr, "reindex: %s\n", what);
	x->said = what;
}

void reindexing_pause(int *pause_ms)
{
	(void)poll(NULL, 0, *pause_ms);
	*pause_ms = *pause_ms < PAUSE_MOST_MS / 2 ? *pause_ms * 2 : PAUSE_MOST_MS;
}

bool reindexing_until(struct reindexing *x, reindexing_act *act, const char *why, struct err *e)
{
	int pause_ms = REINDEXING_PAUSE_MS;
	bool done = false;

	while (!done && !interrupt_came()) {
		if (!act(x->pg, &done, e))
			return false;
		if (done)
			break;
		reindexing_say(x, why);
		reindexing_pause(&pause_ms);
	}
	return done || reindexing_interrupted(e);
}

bool reindexing_is_unseen(const struct reindexing *x, const struct place *p, enum err_kind kind,
			  struct err *e)
{
	const char *alias = place_alias(p, x->to, NULL, NULL);

	if (place_count(p) == 0)
		return err_set(e, kind, "%s is gone: take it back (--abort), and begin again", x->to);
	if (!place_is_index(p))
		return err_set(e, kind, "%s is the name of an alias, and no index of its own", x->to);
	return !alias || err_set(e, kind, "%s stands behind %s, so it is searched already", x->to, alias);
}

bool reindexing_untrack(struct reindexing *x, struct err *e)
{
	return reindexing_until(
		x, reindex_untrack,
		"the second triggers are off; they go as soon as nobody reads the table for a moment", e);
}

// -- the steps

// `body` = what --mapping says, NULL = nothing. The index stays as it was made.
static bool fits_mapping(const struct reindexing *x, const struct place *p, const char *body, struct err *e)
{
	if (body && !x->ours)
		return err_set(
			e, ERR_USAGE,
			"%s is there already, and was not made with --mapping: choose another name (--to), or "
			"leave --mapping away to use it as it is",
			x->to);
	return !body || place_is_made_of(p, body) ||
	       err_set(e, ERR_USAGE,
		       "%s was made with another mapping than %s says now: take it back (--abort), and begin again",
		       x->to, x->call->mapping);
}

static bool is_free(const struct reindexing *x, const struct place *p, struct err *e)
{
	int64_t documents;

	if (!x->ours && place_is_marked(p, NULL))
		return err_set(e, ERR_USAGE, "%s was made for another table or alias", x->to);
	if (!index_count(x->http, x->to, &documents, e))
		return false;
	return documents == 0 ||
	       err_set(e, ERR_USAGE, "%s holds %" PRId64 " documents, and the new index must be empty", x->to,
		       documents);
}

// An index template may say what the file must not: then it goes at once, since the alias may be the one that is searched.
static bool is_made_unseen(struct reindexing *x, struct err *e)
{
	struct place *p = place_look(x->http, x->to, 0, e);
	struct err why = { 0 };
	bool ok = p && reindexing_is_unseen(x, p, ERR_CONFIG, &why);
	int64_t documents;

	if (p && !ok && index_count(x->http, x->to, &documents, e) &&
	    (documents > 0 || index_delete(x->http, x->to, 0, e))) {
		*e = why;
		err_prefix(e, "an index template%s", documents > 0 ? "" : ", so it is deleted again");
	}
	if (ok)
		x->uuid = mem_strdup(place_uuid(p, x->to));
	place_free(p);
	return ok;
}

static bool make_index(struct reindexing *x, const char *body, struct err *e)
{
	auto_free char *plain = body ? NULL : index_body(NULL, &x->made_for, e);

	if (!index_make(x->http, x->to, body ? body : plain, &x->made_for, e))
		return false;
	x->ours = true;
	printf("made       %s\n", x->to);
	return is_made_unseen(x, e);
}

static bool begin_index(struct reindexing *x, struct err *e)
{
	auto_free char *body = x->call->mapping ? index_body(x->call->mapping, &x->made_for, e) : NULL;
	struct place *p = x->call->mapping && !body ? NULL : place_look(x->http, x->to, 0, e);
	bool goes_on = reindex_is_tracked(x->pg), is_there = p && (goes_on || place_count(p) > 0);
	bool ok = p != NULL;

	x->ours = ok && place_is_marked(p, &x->made_for);
	if (is_there)
		ok = reindexing_is_unseen(x, p, ERR_USAGE, e) && fits_mapping(x, p, body, e) &&
		     (goes_on || is_free(x, p, e));
	if (ok && is_there)
		x->uuid = mem_strdup(place_uuid(p, x->to));
	place_free(p);
	if (ok && is_there)
		printf("goes on    %s stays as it was made\n", x->to);
	return ok && (is_there || make_index(x, body, e));
}

static bool write_both(struct reindexing *x, struct err *e)
{
	// What was filled before the triggers were there is no longer what the rows are.
	if (!reindex_is_tracked(x->pg) && (!reindexing_until(x, reindex_forget, REINDEXING_FILL, e) ||
					   !reindexing_until(x, reindex_track, REINDEXING_WRITERS, e)))
		return false;
	printf("both       changes of %s go to %s and %s\n", x->made_for.table, x->alias, x->to);
	return true;
}

static bool fill(struct reindexing *x, struct err *e)
{
	enum fill how_far;

	if (!reindex_fill(x->pg, &how_far, e))
		return false;
	if (how_far == FILL_DONE)
		printf("filled     %s by an earlier run\n", x->to);
	return how_far == FILL_DONE || cmd_backfill(&x->inner, e) == 0;
}

static bool compare(struct reindexing *x, struct err *e)
{
	int code = cmd_verify(&x->inner, e);

	if (code == EX_DATAERR && e->kind == ERR_NONE)
		err_set(e, ERR_DATA,
			"%s differs, so %s stays where it is. Mended, by `outboxd verify %s --index %s --repair` too, the "
			"same command goes on",
			x->to, x->alias, x->made_for.table, x->to);
	else if (code != 0 && e->kind == ERR_NONE)
		err_set(e, ERR_UNAVAILABLE, "%s could not be compared whole; the same command goes on",
			x->to);
	return code == 0;
}

// -- whether it may begin

// Its next replacement could not be told from it, and `--drop` would take both.
static bool nothing_is_kept(struct reindexing *x, struct err *e)
{
	struct place *kept = place_look(x->http, x->replaced, 0, e);
	const char *index = kept ? place_next(kept, NULL) : NULL;
	bool ok = kept && (!place_is_index(kept) ||
			   err_set(e, ERR_CONFIG,
				   "%s is an index, and what is replaced is to be kept under that name",
				   x->replaced));

	// It may be the one that is to be replaced: somebody went back to it.
	for (; ok && index; index = place_next(kept, index))
		ok = strcmp(index, x->from) == 0 ||
		     err_set(e, ERR_CONFIG,
			     "%s, which an earlier reindex replaced, is still there: `outboxd reindex %s%s%s --drop` "
			     "deletes it",
			     index, x->made_for.table, x->call->index ? " --index " : "",
			     x->call->index ? x->call->index : "");
	place_free(kept);
	return ok;
}

static bool nothing_is_on_its_way(struct reindexing *x, struct err *e)
{
	int64_t waiting, dead;

	if (!reindex_left(x->pg, 0, &waiting, &dead, e))
		return false;
	return waiting + dead == 0 ||
	       err_set(e, ERR_CONFIG,
		       "%" PRId64 " undelivered events of %s are there from earlier (%" PRId64
		       " of them dead): deliver or delete them, or choose another name (--to)",
		       waiting + dead, x->to, dead);
}

static bool reindex(struct reindexing *x, struct err *e)
{
	static bool (*const steps[])(struct reindexing *,
				     struct err *) = { begin_index, write_both, fill,
						       swap_wait,   compare,    swap_run };

	if (!nothing_is_kept(x, e) || !reindex_goes_by_alias(x->pg, x->from, e) ||
	    !(reindex_is_tracked(x->pg) ? reindex_is_alike(x->pg, e) : nothing_is_on_its_way(x, e)))
		return false;
	for (size_t i = 0; i < array_len(steps); i++) {
		if (!steps[i](x, e))
			return false;
		if (interrupt_came() && i + 1 < array_len(steps))
			return reindexing_interrupted(e);
	}
	return true;
}

static bool say_done(struct reindexing *x, struct err *e)
{
	printf("done       %s is %s already\n", x->alias, x->to);
	return swap_say_what_is_kept(x, e);
}

static bool begin(struct reindexing *x, struct err *e)
{
	struct place *now = place_look(x->http, x->alias, 0, e);
	bool moved = now && place_is_only(now, x->to);
	bool done = moved && !reindex_is_tracked(x->pg);
	bool ok = now && (moved || place_may_be_left(now, x->replaced, e));

	if (ok)
		x->from = mem_strdup(place_next(now, NULL));
	place_free(now);
	if (!ok || done)
		return ok && say_done(x, e);
	return reindex_prepare(x->pg, e) && (moved ? swap_run(x, e) : reindex(x, e));
}

// -- the command

static bool is_meant(const struct call *call, struct err *e)
{
	if (call->word_count == 0)
		return err_set(e, ERR_USAGE,
			       "reindex: name the table; `outboxd track` lists what is tracked");
	if (call->drop && (call->to || call->abort || call->mapping))
		return err_set(e, ERR_USAGE, "--drop goes without --to, --mapping and --abort");
	return call->drop || call->to ||
	       err_set(e, ERR_USAGE, "reindex %s: name the new index (--to)", call->words[0]);
}

// Neither a pattern nor several names, which Elasticsearch would take for more than one index.
static bool is_name(const char *flag, const char *name, struct err *e)
{
	const struct row row = { .has_version = true,
				 .index = { name, strlen(name) },
				 .document_id = { "1", 1 },
				 .operation = { "delete", strlen("delete") } };
	struct refusal why;
	enum op op;

	return row_check(&row, &op, &why) || err_set(e, ERR_USAGE, "%s \"%s\": %s", flag, name, why.reason);
}

static bool run(struct reindexing *x, struct err *e)
{
	struct buf name;

	x->alias = reindex_alias(x->pg);
	x->made_for = (struct made_for){ .table = reindex_table(x->pg), .alias = x->alias };
	buf_init(&name, NAME_MAX_BYTES);
	buf_addf(&name, "%s-replaced", x->alias);
	x->replaced = buf_take(&name);
	if (!is_name("the alias of what is replaced", x->replaced, e))
		return false;
	if (x->to && strcmp(x->to, x->replaced) == 0)
		return err_set(e, ERR_USAGE, "--to: %s is the alias under which what is replaced is kept",
			       x->to);
	return x->call->drop ? back_drop(x, e) : x->call->abort ? back_abort(x, e) : begin(x, e);
}

int cmd_reindex(const struct call *call, struct err *e)
{
	struct http_settings settings = http_settings_of(call->config, call->version);
	struct reindexing x = { .call = call, .inner = *call, .to = call->to };

	if (!is_meant(call, e) || (call->to && !is_name("--to", call->to, e)))
		return err_exit_code(e->kind);
	x.inner.index = call->to;
	(void)setvbuf(stdout, NULL, _IOLBF,
		      0); // whoever looks at a pipe or file sees each step when it is done
	interrupt_catch();
	x.pg = reindex_open(call->config, call->words[0], call->index, call->to, e);
	x.http = x.pg ? http_sync_new(&settings, e) : NULL;
	if (x.http)
		(void)run(&x, e);
	http_sync_free(x.http);
	reindex_close(x.pg);
	free(x.from);
	free(x.uuid);
	free(x.replaced);
	return err_exit_code(e->kind);
}
