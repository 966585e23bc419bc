// SPDX-License-Identifier: MIT
#include "pg/verify.h"

#include "base/buf.h"
#include "base/mem.h"
#include "pg/mapping.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXCEPT_MAX ((size_t)64 * 1024)

struct verify {
	struct source *source;
	bool lost;                   // the session
	char *mapped, *wanted, *row; // {mapped}, {wanted}, {row_of_key}
	char *index;                 // where to search
	struct buf except;           // the text of an array
	char sample[16];
};

// "a,b" as the text of an array.
static void read_except(struct buf *ret, const char *names)
{
	auto_free char *list = mem_strdup(names ? names : "");
	char *rest = NULL;

	buf_init(ret, EXCEPT_MAX);
	buf_addc(ret, '{');
	for (char *name = strtok_r(list, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest))
		verify_add_key(ret, name);
	buf_addc(ret, '}');
}

// Where an id of the index is a key of the table: any expression of the configuration could make them different, and not every
// type says whether a text is one of its values.
static char *find_index(const struct source *s)
{
	const struct mapping *m = source_mapping(s);
	bool plain = strcmp(m->document_id, "o.aggregate_id") == 0 && strcmp(m->routing, "NULL") == 0 &&
		     strcmp(m->index, "o.aggregate_type") == 0;

	return mem_strdup(plain && source_is(s, "tells_ids") ? source_get(s, "index_name") : "");
}

static bool find_facts(struct verify *v, bool tombstones, struct err *e)
{
	struct source *s = v->source;
	const char *const params[] = { source_get(s, "tracked"), source_get(s, "key_name"),
				       source_get(s, "index_name") };

	v->mapped = source_fill(s, sql_query_verify_mapped);
	v->wanted = source_fill(
		s, "CASE WHEN ({operation}) IS DISTINCT FROM 'delete' THEN ({document})::jsonb END");
	source_put(s, "mapped", v->mapped);
	source_put(s, "wanted", v->wanted);
	source_put(s, "tombstone",
		   tombstones ? "coalesce(d.doc->'_source' = '{\"deleted\": true}', false)" : "false");
	if (!source_look(s, sql_query_verify_facts, params, 3, e))
		return false;
	v->row = source_fill(s, sql_query_verify_row);
	source_put(s, "row_of_key", v->row);
	v->index = find_index(s);
	return true;
}

struct verify *verify_open(const struct config *config, const struct source_spec *spec, const char *except,
			   int sample, struct err *e)
{
	struct verify *v = mem_calloc(1, sizeof(*v));

	read_except(&v->except, except);
	snprintf(v->sample, sizeof(v->sample), "%d", sample);
	v->source = source_open(config, e);
	if (v->source && source_find_tracked(v->source, spec, e) &&
	    find_facts(v, config->outbox_deletes == DELETES_TOMBSTONE, e))
		return v;
	(void)source_explain(e, "verify", spec->table);
	verify_close(v);
	return NULL;
}

void verify_close(struct verify *v)
{
	if (!v)
		return;
	source_close(v->source);
	free(v->mapped);
	free(v->wanted);
	free(v->row);
	free(v->index);
	buf_done(&v->except);
	free(v);
}

const char *verify_table(const struct verify *v)
{
	return source_get(v->source, "tracked");
}

const char *verify_index(const struct verify *v)
{
	return v->index;
}

bool verify_is_shared(const struct verify *v)
{
	return source_is(v->source, "shared");
}

bool verify_is_lost(const struct verify *v)
{
	return v->lost;
}

bool verify_is_tracked(const struct verify *v)
{
	return source_is(v->source, "is_tracked");
}

// As source_ask, and the next one may come whatever became of this one.
static struct pg_result *query(struct verify *v, const char *sql, const char *const *params, int count,
			       struct err *e)
{
	struct pg_result *res = source_ask(v->source, sql, params, count, e);
	struct err after = { 0 };

	if (res)
		return res;
	v->lost = !*e->sqlstate;
	if (!v->lost && !source_rollback(v->source, &after)) {
		v->lost = true;
		*e = after;
	}
	(void)source_explain(e, "verify", verify_table(v));
	return NULL;
}

// 22: a number or character that jsonb does not take; 54: nested too deeply, too large.
static struct pg_result *read_answer(struct verify *v, const char *sql, const char *const *params, int count,
				     struct err *e)
{
	struct pg_result *res = query(v, sql, params, count, e);

	if (!res && (strncmp(e->sqlstate, "22", 2) == 0 || strncmp(e->sqlstate, "54", 2) == 0))
		e->kind = ERR_DATA;
	return res;
}

struct pg_result *verify_next(struct verify *v, const char *after, int64_t limit, struct err *e)
{
	char most[32];
	const char *const params[] = { after, most, v->sample, buf_str(&v->except) };

	snprintf(most, sizeof(most), "%" PRId64, limit);
	return query(v, sql_query_verify_next, params, 4, e);
}

struct pg_result *verify_compare(struct verify *v, const struct pg_result *next, const char *answer,
				 struct err *e)
{
	const char *const params[] = { sync_text(next, 0, NEXT_KEYS), sync_text(next, 0, NEXT_PRINTS), answer,
				       buf_str(&v->except) };

	return read_answer(v, sql_query_verify_compare, params, 4, e);
}

struct pg_result *verify_body(struct verify *v, const char *keys, struct err *e)
{
	return query(v, sql_query_verify_body, &keys, 1, e);
}

struct pg_result *verify_look(struct verify *v, const char *keys, const char *answer, struct err *e)
{
	const char *const params[] = { keys, answer, buf_str(&v->except) };

	return read_answer(v, sql_query_verify_look, params, 3, e);
}

struct pg_result *verify_extra(struct verify *v, const char *answer, struct err *e)
{
	const char *const params[] = { answer, v->sample };

	return read_answer(v, sql_query_verify_extra, params, 2, e);
}

// *ret_done false without an error: not all of the rows could be locked.
static bool repair(struct verify *v, const char *keys, int64_t count, bool deletes, bool *ret_done,
		   struct err *e)
{
	// Against who locks a row, too: a child's trigger has locked the parent before its event is drawn.
	auto_free char *lock = source_fill(
		v->source, "SET LOCAL lock_timeout = '200ms'; LOCK TABLE {tracked} IN EXCLUSIVE MODE");
	struct pg_result *res;

	if (!source_begin(v->source, e) || (deletes && !sync_exec(source_db(v->source), lock, e)))
		return false;
	if (!deletes) {
		res = source_query(v->source, sql_query_verify_lock, &keys, 1, e);
		*ret_done = res && sync_int(res, 0, 0) == count;
		sync_free(res);
		if (!*ret_done)
			return res && source_rollback(v->source, e);
	}
	res = source_query(v->source, sql_query_verify_repair, &keys, 1, e);
	*ret_done = res != NULL;
	sync_free(res);
	return *ret_done && source_commit(v->source, e);
}

bool verify_repair(struct verify *v, const char *keys, int64_t count, bool deletes, bool *ret_done,
		   struct err *e)
{
	*ret_done = false;
	if (repair(v, keys, count, deletes, ret_done, e))
		return true;
	*ret_done = false;
	if (!source_is_busy(e))
		return source_explain(e, "verify", verify_table(v));
	*e = (struct err){ 0 };
	return source_rollback(v->source, e) || source_explain(e, "verify", verify_table(v));
}

void verify_add_key(struct buf *keys, const char *key)
{
	if (keys->len > 1)
		buf_addc(keys, ',');
	buf_addc(keys, '"');
	for (; *key; key++) {
		if (*key == '"' || *key == '\\')
			buf_addc(keys, '\\');
		buf_addc(keys, *key);
	}
	buf_addc(keys, '"');
}
