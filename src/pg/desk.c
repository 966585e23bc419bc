// SPDX-License-Identifier: MIT
#include "pg/desk.h"

#include "base/mem.h"
#include "pg/mapping.h"
#include "pg/shape.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <stdlib.h>
#include <string.h>

struct desk {
	struct mapping mapping;
	struct sync *db;
	enum shape shape;
	const char *table; // as the configuration writes it
};

// Waiting for a lock would show nothing, and it is what the operator looks for.
static bool is_readable(struct desk *d, struct err *e)
{
	struct pg_result *res = desk_query(d, sql_query_locker, NULL, 0, e);
	bool readable = res && (sync_rows(res) == 0 || !sync_true(res, 0, LOCKER_UNREADABLE));

	if (res && !readable)
		err_set(e, ERR_UNAVAILABLE, "the table is locked: %s. Ask its owner, or: %s",
			sync_text(res, 0, LOCKER_HOLDER), sync_text(res, 0, LOCKER_CURE));
	sync_free(res);
	return readable;
}

struct desk *desk_open(const struct config *config, struct err *e)
{
	struct desk *d = mem_calloc(1, sizeof(*d));

	d->table = config->outbox_table;
	if (!mapping_init(&d->mapping, config, e)) {
		free(d);
		return NULL;
	}
	d->db = sync_open(config->postgres_dsn, e);
	if (d->db && is_readable(d, e) && shape_read(&d->mapping, d->db, &d->shape, e))
		return d;
	desk_close(d);
	return NULL;
}

void desk_limit(struct desk *d, int64_t limit_ms)
{
	sync_limit(d->db, limit_ms);
}

void desk_close(struct desk *d)
{
	if (!d)
		return;
	sync_close(d->db);
	mapping_done(&d->mapping);
	free(d);
}

// A missing table or column has one cure.
static void advise(const struct desk *d, struct err *e)
{
	if (strcmp(e->sqlstate, "42P01") != 0 && strcmp(e->sqlstate, "42703") != 0)
		return;
	e->kind = ERR_CONFIG;
	err_prefix(e, "table %s is not ready, run `outboxd init`", d->table);
}

bool desk_is_partitioned(const struct desk *d)
{
	return d->shape == SHAPE_PARTITIONED;
}

struct pg_result *desk_query(struct desk *d, const char *sql, const char *const *params, int count,
			     struct err *e)
{
	auto_free char *text = mapping_expand(&d->mapping, sql, NULL);
	struct pg_result *res = sync_query(d->db, text, params, count, e);

	if (!res)
		advise(d, e);
	return res;
}

static struct pg_result *query_in(struct desk *d, const char *begin, const char *first, const char *sql,
				  const char *const *params, int count, struct err *e)
{
	struct pg_result *res = NULL;
	struct err after = { 0 };

	if (!sync_exec(d->db, begin, e))
		return NULL;
	if (sync_exec(d->db, first, e))
		res = desk_query(d, sql, params, count, e);
	if (sync_exec(d->db, sql_query_commit, &after) || !res)
		return res; // a commit after a failure rolls back
	*e = after;
	sync_free(res);
	return NULL;
}

struct pg_result *desk_read(struct desk *d, const char *first, const char *sql, const char *const *params,
			    int count, struct err *e)
{
	return query_in(d, "BEGIN READ ONLY", first, sql, params, count, e);
}

struct pg_result *desk_write(struct desk *d, const char *first, const char *sql, const char *const *params,
			     int count, struct err *e)
{
	return query_in(d, "BEGIN", first, sql, params, count, e);
}

bool desk_drawn(struct desk *d, int64_t *ret, struct err *e)
{
	struct pg_result *res;

	*ret = -1;
	if (!d->mapping.version_is_id)
		return true;
	res = desk_query(d, sql_query_check_drawn, NULL, 0, e);
	if (res && sync_rows(res) > 0 && sync_text(res, 0, 0))
		*ret = sync_int(res, 0, 0);
	sync_free(res);
	return res != NULL;
}
