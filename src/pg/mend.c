// SPDX-License-Identifier: MIT
#include "pg/mend.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_OF(n) #n
#define TEXT(n) TEXT_OF(n)
#define SELECTION_PARAMS 4
#define PARAMS_MAX 9

struct mend {
	struct desk *desk;
	struct buf ids;
	const char *params[PARAMS_MAX]; // the selection, then those of the statement
	struct pg_result *plan;
	// Where mend_next stands in the index of refused rows; without = among those without a document id.
	int64_t hash, id;
	bool without;
};

// "12,15" as the text of an array.
static bool id_array(const char *ids, struct buf *ret_array, struct err *e)
{
	buf_init(ret_array, 1024 * 1024);
	buf_addc(ret_array, '{');
	for (const char *p = ids; p; p = *p ? p + 1 : NULL) {
		size_t n = strcspn(p, ","), from = strspn(p, " "), to = n;

		while (to > from && p[to - 1] == ' ')
			to--;

		auto_free char *word = mem_strndup(p + from, to > from ? to - from : 0);
		int64_t id;

		if (!parse_int(word, &id, e))
			return err_set(e, ERR_USAGE, "\"%s\" is not a list of event ids; write 12 or 12,15",
				       ids);
		buf_addf(ret_array, "%s%lld", ret_array->len > 1 ? "," : "", (long long)id);
		p += n;
	}
	buf_addc(ret_array, '}');
	return !ret_array->full || err_set(e, ERR_USAGE, "the list of event ids is longer than 1 MB");
}

struct mend *mend_new(struct desk *d, const struct selection *s, struct err *e)
{
	struct mend *m = mem_calloc(1, sizeof(*m));

	m->desk = d;
	m->hash = m->id = INT64_MIN;
	if (!id_array(s->ids, &m->ids, e)) {
		mend_free(m);
		return NULL;
	}
	m->params[0] = buf_str(&m->ids);
	m->params[1] = s->type;
	m->params[2] = s->index;
	m->params[3] = s->key;
	return m;
}

void mend_free(struct mend *m)
{
	if (!m)
		return;
	sync_free(m->plan);
	buf_done(&m->ids);
	free(m);
}

// One row whose first column is a number of rows.
static bool count_rows(struct desk *d, const char *sql, const char *const *params, int count,
		       int64_t *ret_rows, struct err *e)
{
	struct pg_result *res = desk_query(d, sql, params, count, e);

	if (res)
		*ret_rows = sync_int(res, 0, 0);
	sync_free(res);
	return res != NULL;
}

struct pg_result *mend_list(struct mend *m, int64_t limit, struct err *e)
{
	char most[32];

	snprintf(most, sizeof(most), "%lld", (long long)limit);
	m->params[SELECTION_PARAMS] = most;
	return desk_query(m->desk, sql_query_dead, m->params, SELECTION_PARAMS + 1, e);
}

struct pg_result *mend_one(struct mend *m, struct err *e)
{
	return desk_query(m->desk, sql_query_dead_one, m->params, 1, e);
}

struct pg_result *mend_document(struct mend *m, struct err *e)
{
	return desk_query(m->desk, sql_query_dead_document, m->params, 1, e);
}

bool mend_plan(struct mend *m, struct requeue_plan *ret, struct err *e)
{
	m->params[SELECTION_PARAMS] = TEXT(MEND_SETTLE_ROWS);
	sync_free(m->plan);
	m->plan = desk_read(m->desk, sql_query_requeue_settings, sql_query_requeue_plan, m->params,
			    SELECTION_PARAMS + 1, e);
	if (!m->plan)
		return false;
	*ret = (struct requeue_plan){ .dead = sync_int(m->plan, 0, 0), .moved = sync_int(m->plan, 0, 1) };
	return true;
}

bool mend_settle(struct mend *m, int64_t *ret_rows, struct err *e)
{
	const char *moved = sync_text(m->plan, 0, 2);

	return count_rows(m->desk, sql_query_requeue_settle, &moved, 1, ret_rows, e);
}

// Moves on behind what `chunk` has. False = it was the last.
static bool move_on(struct mend *m, const struct pg_result *chunk)
{
	if (sync_int(chunk, 0, 0) > 0) {
		m->hash = sync_int(chunk, 0, 3);
		m->id = sync_int(chunk, 0, 4);
		return true;
	}
	if (m->without)
		return false;
	m->without = true;
	m->id = INT64_MIN;
	return true;
}

bool mend_next(struct mend *m, enum mend_verb verb, int64_t older_ms, int64_t *ret_rows, bool *ret_more,
	       struct err *e)
{
	char older[32], hash[32], id[32];
	struct pg_result *chunk;
	bool ok = true;

	snprintf(older, sizeof(older), "%lld", (long long)older_ms);
	snprintf(hash, sizeof(hash), "%lld", (long long)m->hash);
	snprintf(id, sizeof(id), "%lld", (long long)m->id);
	m->params[4] = older;
	m->params[5] = TEXT(MEND_CHUNK_ROWS);
	m->params[6] = hash;
	m->params[7] = id;
	m->params[8] = m->without ? "t" : "f";
	chunk = desk_query(m->desk, sql_query_dead_chunk, m->params, PARAMS_MAX, e);
	if (!chunk)
		return false;
	*ret_rows = 0;
	if (sync_int(chunk, 0, 0) > 0) {
		const char *const rows[] = { sync_text(chunk, 0, 1), sync_text(chunk, 0, 2) };

		if (verb == MEND_REQUEUE)
			ok = count_rows(m->desk, sql_query_requeue_chunk, &rows[1], 1, ret_rows, e);
		else
			ok = count_rows(m->desk, sql_query_purge_dead, rows, 2, ret_rows, e);
	}
	*ret_more = move_on(m, chunk);
	sync_free(chunk);
	return ok;
}

bool mend_purge(struct desk *d, int64_t older_ms, int64_t *above, int64_t *ret_rows, bool *ret_more,
		struct err *e)
{
	char older[32], after[32];
	// In a partitioned table, up to the last id of all.
	const char *const params[] = { older, after, TEXT(MEND_CHUNK_ROWS), TEXT_OF(9223372036854775807) };
	struct pg_result *res;

	snprintf(older, sizeof(older), "%lld", (long long)older_ms);
	snprintf(after, sizeof(after), "%lld", (long long)*above);
	res = desk_query(d, sql_query_purge, params, desk_is_partitioned(d) ? 4 : 3, e);
	if (!res)
		return false;
	*ret_rows = sync_int(res, 0, 0);
	*ret_more = sync_text(res, 0, 1) != NULL;
	*above = sync_int(res, 0, 1);
	sync_free(res);
	return true;
}

bool mend_count(struct desk *d, int64_t older_ms, bool dead, int64_t *ret_rows, struct err *e)
{
	char older[32];
	const char *const params[] = { older, dead ? "t" : "f" };

	snprintf(older, sizeof(older), "%lld", (long long)older_ms);
	return count_rows(d, sql_query_purge_count, params, 2, ret_rows, e);
}
