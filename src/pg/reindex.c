// SPDX-License-Identifier: MIT
#include "pg/reindex.h"

#include "base/clock.h"
#include "base/mem.h"
#include "pg/mapping.h"
#include "pg/source.h"
#include "pg/sql.h"
#include "pg/sync.h"
#include "pg/track.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The columns of track_functions.sql.
enum { TABLE = 1, INDEX, KEY, DOCUMENT, COLUMNS, WHEN, TOUCHES, TRUNCATE, ALWAYS };

struct reindex {
	const struct config *config;
	const char *to;
	struct source *source;
	struct pg_result *functions; // by which the table is tracked
	int row;                     // one of the alias
	bool tracked;                // into the second index as well
	bool held;                   // a transaction is open that holds off writers
	char *row_of_key;            // {row_of_key}
};

static bool is_not_tracked(const struct reindex *r, const char *table, const char *alias, struct err *e)
{
	if (r->tracked)
		return err_set(e, ERR_USAGE,
			       "%s is the index into which %s is tracked: name another one (--to)", r->to,
			       table);
	return err_set(e, ERR_CONFIG, "%s is not tracked%s%s; `outboxd track` lists what is", table,
		       alias ? " into " : "", alias ? alias : "");
}

// How the table is tracked besides the second index.
static bool choose(struct reindex *r, const char *table, const char *alias, struct err *e)
{
	r->row = -1;
	for (int i = 0; i < sync_rows(r->functions); i++) {
		const char *index = sync_text(r->functions, i, INDEX);

		if (r->to && strcmp(index, r->to) == 0) {
			r->tracked = true;
		} else if (!alias || strcmp(index, alias) == 0) {
			if (r->row >= 0 && strcmp(index, reindex_alias(r)) != 0)
				return err_set(
					e, ERR_USAGE,
					"%s is tracked into %s and %s: name the one that is searched (--index)",
					table, reindex_alias(r), index);
			r->row = i;
		}
	}
	return r->row >= 0 || is_not_tracked(r, table, alias, e);
}

struct reindex *reindex_open(const struct config *config, const char *table, const char *alias,
			     const char *to, struct err *e)
{
	const char *const params[] = { table, NULL };
	struct reindex *r = mem_calloc(1, sizeof(*r));

	r->config = config;
	r->to = to;
	r->source = source_open(config, e);
	r->functions = r->source ? source_ask(r->source, sql_query_track_functions, params, 2, e) : NULL;
	if (r->functions && choose(r, table, alias, e))
		return r;
	(void)source_explain(e, "reindex", table);
	reindex_close(r);
	return NULL;
}

void reindex_close(struct reindex *r)
{
	if (!r)
		return;
	sync_free(r->functions);
	source_close(r->source);
	free(r->row_of_key);
	free(r);
}

const char *reindex_table(const struct reindex *r)
{
	return sync_text(r->functions, r->row, TABLE);
}

const char *reindex_alias(const struct reindex *r)
{
	return sync_text(r->functions, r->row, INDEX);
}

bool reindex_is_tracked(const struct reindex *r)
{
	return r->tracked;
}

static bool explain(const struct reindex *r, struct err *e)
{
	return source_explain(e, "reindex", reindex_table(r));
}

static struct pg_result *ask(struct reindex *r, const char *sql, const char *const *params, int count,
			     struct err *e)
{
	struct pg_result *res = r->held ? source_query(r->source, sql, params, count, e)
					: source_ask(r->source, sql, params, count, e);

	if (!res)
		(void)explain(r, e);
	return res;
}

// After a failure in a transaction: somebody was in the way, and nothing of it is left; or an error.
static bool was_busy(struct reindex *r, struct err *e)
{
	if (!source_is_busy(e))
		return explain(r, e);
	*e = (struct err){ 0 };
	r->held = false;
	return source_rollback(r->source, e) || explain(r, e);
}

// -- what cannot be moved

// Events of both indexes must differ in the index alone.
static bool is_by_name(const struct reindex *r, struct err *e)
{
	const struct mapping *m = source_mapping(r->source);

	if (strcmp(m->index, "o.aggregate_type") != 0)
		return err_set(
			e, ERR_CONFIG,
			"outbox.index is an expression of its own (%s), so events do not go to the index that `track` names",
			m->index);
	for (const struct mapping_field *f = mapping_fields; f->name; f++) {
		if (strcmp(f->name, "index") != 0 && strstr(mapping_expression(m, f), "aggregate_type"))
			return err_set(
				e, ERR_CONFIG,
				"outbox.%s looks at aggregate_type, so it could be another one for the new index: only "
				"outbox.index may",
				f->name);
	}
	return true;
}

// Refuses tables, other than `but`, that are tracked into one of the two indexes.
static bool refuse_others(struct reindex *r, const char *but, const char *index, const char *other,
			  const char *why, struct err *e)
{
	const char *const params[] = { but, index, other };
	struct pg_result *res = ask(r, sql_query_reindex_others, params, 3, e);
	bool none = res && sync_rows(res) == 0;

	if (res && !none)
		err_set(e, ERR_CONFIG, "reindex %s: %s is tracked into %s %s", reindex_table(r),
			sync_text(res, 0, 0), sync_text(res, 0, 1), why);
	sync_free(res);
	return none;
}

bool reindex_is_alone(struct reindex *r, bool in_alias, struct err *e)
{
	return refuse_others(r, reindex_table(r), r->to, in_alias ? reindex_alias(r) : r->to,
			     "as well, and an index of several tables cannot be made anew from one", e);
}

bool reindex_goes_by_alias(struct reindex *r, const char *index, struct err *e)
{
	return refuse_others(
		r, NULL, index, index,
		"by that name, and its events would not follow the alias: track it into an alias", e);
}

// The document of a row, as `verify` reads it.
static bool find_documents(struct reindex *r, struct err *e)
{
	const struct source_spec spec = { .table = reindex_table(r), .index = reindex_alias(r) };
	struct source *s = r->source;

	if (!source_find_tracked(s, &spec, e))
		return false;

	const char *const params[] = { source_get(s, "tracked"), source_get(s, "key_name"),
				       source_get(s, "index_name") };

	if (!source_look(s, sql_query_verify_facts, params, 3, e))
		return false;
	r->row_of_key = source_fill(s, sql_query_verify_row);
	source_put(s, "row_of_key", r->row_of_key);
	return true;
}

bool reindex_prepare(struct reindex *r, struct err *e)
{
	if (!is_by_name(r, e) || !source_look(r->source, sql_query_reindex_rights, NULL, 0, e) ||
	    !find_documents(r, e))
		return explain(r, e);
	return reindex_is_alone(r, true, e);
}

// -- the triggers of the second index

bool reindex_track(struct reindex *r, bool *ret_done, struct err *e)
{
	const struct pg_result *f = r->functions;
	const char *truncate = sync_text(f, r->row, TRUNCATE), *always = sync_text(f, r->row, ALWAYS);
	struct track t = {
		.source = { .table = reindex_table(r),
			    .index = r->to,
			    .key = sync_text(f, r->row, KEY),
			    .view = sync_text(f, r->row, DOCUMENT),
			    .columns = sync_text(f, r->row, COLUMNS),
			    .condition = sync_text(f, r->row, WHEN) },
		.touches = sync_text(f, r->row, TOUCHES),
		.always = always && strcmp(always, "true") == 0,
	};

	if (truncate && !truncate_read(truncate, &t.truncate))
		return err_set(e, ERR_CONFIG, "reindex %s: a newer outboxd has tracked it (truncate: %s)",
			       reindex_table(r), truncate);
	r->tracked = *ret_done = track_install(r->config, &t, false, NULL, e);
	if (*ret_done || !source_is_busy(e))
		return *ret_done;
	*e = (struct err){ 0 };
	return true;
}

bool reindex_is_alike(struct reindex *r, struct err *e)
{
	const char *const params[] = { reindex_table(r), reindex_alias(r), r->to };
	struct pg_result *res = ask(r, sql_query_reindex_alike, params, 3, e);
	bool alike = res && sync_true(res, 0, 0);

	if (res && !alike)
		err_set(e, ERR_CONFIG,
			"reindex %s: it is not tracked into %s as it is into %s, or triggers are switched off: take it back "
			"(--abort), and begin again",
			reindex_table(r), r->to, reindex_alias(r));
	sync_free(res);
	return alike;
}

// Runs the statements that a query says, if any, of the table, the second index and, as a third parameter, that of the alias.
static bool carry_out(struct reindex *r, const char *sql, int count, struct err *e)
{
	const char *const params[] = { reindex_table(r), r->to, reindex_alias(r) };
	struct pg_result *res = source_query(r->source, sql, params, count, e);
	const char *statements = res ? sync_text(res, 0, 0) : NULL;
	bool ok = res && (!statements || sync_exec(source_db(r->source), statements, e));

	sync_free(res);
	return ok;
}

bool reindex_untrack(struct reindex *r, bool *ret_done, struct err *e)
{
	*ret_done = source_begin(r->source, e) && carry_out(r, sql_query_reindex_drop, 2, e) &&
		    source_commit(r->source, e);
	r->tracked = r->tracked && !*ret_done;
	return *ret_done || was_busy(r, e);
}

bool reindex_hold(struct reindex *r, bool *ret_done, struct err *e)
{
	r->held = source_begin(r->source, e) && carry_out(r, sql_query_reindex_hold, 3, e);
	*ret_done = r->held;
	return r->held || was_busy(r, e);
}

bool reindex_switch_off(struct reindex *r, struct err *e)
{
	return carry_out(r, sql_query_reindex_switch, 2, e) || explain(r, e);
}

bool reindex_commit(struct reindex *r, struct err *e)
{
	r->held = false;
	return source_commit(r->source, e) || explain(r, e);
}

void reindex_release(struct reindex *r)
{
	struct err lost = { 0 };

	// A session that is lost says so at the next question.
	r->held = r->held && !source_rollback(r->source, &lost);
}

// -- how far it is filled

// NULL without an error: no backfill was ever begun.
static struct pg_result *ask_backfills(struct reindex *r, const char *sql, struct err *e)
{
	const char *const params[] = { reindex_table(r), r->to };
	int mark = source_mark(r->source);
	struct pg_result *res = NULL;

	if (!source_look(r->source, sql_query_backfill_exists, NULL, 0, e))
		(void)explain(r, e);
	else if (*source_get(r->source, "backfills"))
		res = ask(r, sql, params, 2, e);
	source_forget(r->source, mark);
	return res;
}

bool reindex_fill(struct reindex *r, enum fill *ret, struct err *e)
{
	struct pg_result *res = ask_backfills(r, sql_query_reindex_fill, e);

	*ret = !res || sync_rows(res) == 0 ? FILL_NONE : sync_true(res, 0, 0) ? FILL_DONE : FILL_BEGUN;
	sync_free(res);
	return e->kind == ERR_NONE;
}

bool reindex_forget(struct reindex *r, bool *ret_done, struct err *e)
{
	sync_free(ask_backfills(r, sql_query_reindex_forget, e));
	*ret_done = e->kind == ERR_NONE;
	return *ret_done || (source_is_busy(e) && was_busy(r, e));
}

// -- events

bool reindex_highest(struct reindex *r, int64_t *ret_id, struct err *e)
{
	struct pg_result *res = ask(r, sql_query_highest, NULL, 0, e);

	if (!res)
		return false;
	*ret_id = sync_int(res, 0, 0);
	sync_free(res);
	return true;
}

// Undelivered events of the second index and of `also`, with ids up to `upto` (0 = all).
static bool count(struct reindex *r, const char *also, int64_t upto, int64_t *ret_waiting, int64_t *ret_dead,
		  struct err *e)
{
	char highest[32];
	const char *const params[] = { r->to, also, highest };
	struct pg_result *res;

	snprintf(highest, sizeof(highest), "%" PRId64, upto);
	res = ask(r, sql_query_reindex_left, params, 3, e);
	if (!res)
		return false;
	*ret_waiting = sync_int(res, 0, 0);
	*ret_dead = sync_int(res, 0, 1);
	sync_free(res);
	return true;
}

bool reindex_left(struct reindex *r, int64_t upto, int64_t *ret_waiting, int64_t *ret_dead, struct err *e)
{
	return count(r, r->to, upto, ret_waiting, ret_dead, e);
}

bool reindex_undelivered(struct reindex *r, int64_t upto, int64_t *ret, struct err *e)
{
	int64_t waiting, dead;

	if (!count(r, reindex_alias(r), upto, &waiting, &dead, e))
		return false;
	*ret = waiting + dead;
	return true;
}

bool reindex_settle(struct reindex *r, bool *ret_done, struct err *e)
{
	struct pg_result *res = source_ask(r->source, sql_query_reindex_settle, &r->to, 1, e);
	bool ok = res != NULL;
	int64_t waiting, dead;

	*ret_done = false;
	sync_free(res);
	if (!ok)
		return was_busy(r, e);
	if (!reindex_left(r, 0, &waiting, &dead, e))
		return false;
	*ret_done = waiting + dead == 0;
	return true;
}

bool reindex_replace(struct reindex *r, int64_t until_ms, bool *ret_done, struct err *e)
{
	char highest[32]; // not the new ones
	const char *const params[] = { reindex_alias(r), r->to, highest };
	int64_t upto, left;

	*ret_done = false;
	if (!reindex_highest(r, &upto, e))
		return false;
	snprintf(highest, sizeof(highest), "%" PRId64, upto);
	while (!*ret_done && clock_boot_ms() < until_ms) {
		struct pg_result *res = source_query(r->source, sql_query_reindex_replace, params, 3, e);
		bool ok = res != NULL;

		sync_free(res);
		if (!ok)
			return was_busy(r, e) || err_prefix(e, "replacing what is undelivered");
		if (!reindex_undelivered(r, upto, &left, e))
			return false;
		*ret_done = left == 0;
	}
	return true;
}
