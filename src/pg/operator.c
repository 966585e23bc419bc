// SPDX-License-Identifier: MIT
#include "pg/operator.h"

#include "pg/desk.h"
#include "pg/sql.h"
#include "pg/sync.h"

// One connection: `before`, which may be NULL, then the query whose result it is.
static struct pg_result *query(const struct config *config, const char *before, const char *sql,
			       struct err *e)
{
	struct desk *d = desk_open(config, e);
	struct pg_result *first = NULL, *res = NULL;

	if (d && before)
		first = desk_query(d, before, NULL, 0, e);
	if (d && (first || !before))
		res = desk_query(d, sql, NULL, 0, e);
	sync_free(first);
	desk_close(d);
	return res;
}

struct pg_result *operator_raise_sequence(const struct config *config, struct err *e)
{
	return query(config, sql_query_raise_sequence, sql_query_raised, e);
}
