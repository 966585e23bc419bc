// SPDX-License-Identifier: MIT
#include "pg/plans.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void plans_begin(struct plans *p)
{
	*p = (struct plans){ .never = p->never };
}

void plans_meet(struct plans *p, int told, long long asked)
{
	p->ours = told > 0 && told == asked;
}

bool plans_are_kept(const struct plans *p)
{
	return p->ours && !p->never;
}

void plans_forget(struct plans *p)
{
	p->count = 0;
	p->stale = false;
}

void plans_failed(struct plans *p, const char *sqlstate)
{
	p->stale = p->stale || p->count > 0;
	p->never = p->never || strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "42P05") == 0;
}

bool plans_name(struct plans *p, const char *sql, char ret_name[static PLANS_NAME_MAX])
{
	int n = 0;

	while (n < p->count && p->sql[n] != sql)
		n++;
	snprintf(ret_name, PLANS_NAME_MAX, "outboxd_%d", n);
	if (n < p->count)
		return true;
	assert(n < PLANS_MAX);
	p->sql[p->count++] = sql;
	return false;
}
