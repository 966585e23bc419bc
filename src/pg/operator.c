// SPDX-License-Identifier: MIT
#include "pg/operator.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "pg/mapping.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	return true;
}

// A missing table or column has one cure.
static void advise(const struct config *config, struct err *e)
{
	if (strcmp(e->sqlstate, "42P01") != 0 && strcmp(e->sqlstate, "42703") != 0)
		return;
	e->kind = ERR_CONFIG;
	err_prefix(e, "table %s is not ready, run `outboxd init`", config->outbox_table);
}

// One connection: `before`, which may be NULL, then the query whose result it is.
static struct pg_result *query(const struct config *config, const char *before, const char *sql,
			       const char *const *params, int count, struct err *e)
{
	struct pg_result *res = NULL;
	struct mapping m;
	struct sync *db;

	if (!mapping_init(&m, config, e))
		return NULL;
	db = sync_open(config->postgres_dsn, e);
	if (db) {
		auto_free char *first = before ? mapping_expand(&m, before, NULL) : NULL;
		auto_free char *text = mapping_expand(&m, sql, NULL);

		if (!first || sync_exec(db, first, e))
			res = sync_query(db, text, params, count, e);
		if (!res)
			advise(config, e);
	}
	sync_close(db);
	mapping_done(&m);
	return res;
}

struct pg_result *operator_status(const struct config *config, struct err *e)
{
	return query(config, NULL, sql_query_status, NULL, 0, e);
}

struct pg_result *operator_dead(const struct config *config, const char *ids, long long limit, struct err *e)
{
	auto_buf array = { 0 };
	char most[32];

	if (!id_array(ids, &array, e))
		return NULL;
	snprintf(most, sizeof(most), "%lld", limit);

	const char *const params[] = { buf_str(&array), most };

	return query(config, NULL, sql_query_dead, params, 2, e);
}

bool operator_requeue(const struct config *config, const char *ids, struct requeued *ret, struct err *e)
{
	auto_buf array = { 0 };
	struct pg_result *res;

	if (!id_array(ids, &array, e))
		return false;

	const char *const params[] = { buf_str(&array) };

	res = query(config, NULL, sql_query_requeue, params, 1, e);
	if (!res)
		return false;
	ret->pending = strtoll(sync_text(res, 0, 0), NULL, 10);
	ret->superseded = strtoll(sync_text(res, 0, 1), NULL, 10);
	sync_free(res);
	return true;
}

struct pg_result *operator_raise_sequence(const struct config *config, struct err *e)
{
	return query(config, sql_query_raise_sequence, sql_query_raised, NULL, 0, e);
}
