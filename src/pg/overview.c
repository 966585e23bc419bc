// SPDX-License-Identifier: MIT
#include "pg/overview.h"

#include "pg/sql.h"
#include "pg/sync.h"

#include <string.h>

bool overview_read(struct desk *d, bool rate, struct overview *ret, struct err *e)
{
	struct err slow = { 0 };

	*ret = (struct overview){ 0 };
	ret->backlog = desk_query(d, sql_query_backlog, NULL, 0, e);
	if (!ret->backlog)
		return false;
	if (rate)
		ret->rate = desk_query(d, sql_query_rate, NULL, 0, &slow);
	// Not worth losing the rest: a table without an index on its ids may run into a statement_timeout of the role.
	if (slow.kind != ERR_NONE && strcmp(slow.sqlstate, "57014") != 0) {
		*e = slow;
		return false;
	}
	ret->holders = desk_query(d, sql_query_holders, NULL, 0, e);
	if (!ret->holders)
		return false;
	ret->locker = desk_query(d, sql_query_locker, NULL, 0, e);
	if (!ret->locker)
		return false;
	ret->horizon = desk_query(d, sql_query_horizon, NULL, 0, e);
	return ret->horizon != NULL;
}

void overview_done(struct overview *o)
{
	sync_free(o->backlog);
	sync_free(o->rate);
	sync_free(o->holders);
	sync_free(o->locker);
	sync_free(o->horizon);
}

long long overview_pending(struct desk *d)
{
	struct err ignored = { 0 };
	struct pg_result *res = desk_query(d, sql_query_pending, NULL, 0, &ignored);
	long long rows = res ? sync_int(res, 0, 0) : -1;

	sync_free(res);
	return rows;
}
