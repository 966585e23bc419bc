// SPDX-License-Identifier: MIT
#include "pg/plans.h"

#include "base/attr.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void plans_begin(struct plans *p, uint64_t salt)
{
	*p = (struct plans){ .never = p->never, .salt = salt };
}

void plans_meet(struct plans *p, int told, int64_t asked)
{
	p->ours = told > 0 && told == asked;
}

bool plans_are_kept(const struct plans *p)
{
	return p->ours && !p->never;
}

bool plans_are_stale(const struct plans *p, int64_t now_ms)
{
	return p->stale || (p->count > 0 && now_ms - p->since_ms >= PLANS_AGE_MS);
}

void plans_forget(struct plans *p)
{
	p->count = 0;
	p->stale = false;
}

void plans_failed(struct plans *p, const char *sqlstate)
{
	static const char *const not_ours[] = { "26000", "42P05", "08P01" };

	p->stale = p->stale || p->count > 0;
	for (size_t i = 0; i < array_len(not_ours); i++)
		p->never = p->never || (p->count > 0 && strcmp(sqlstate, not_ours[i]) == 0);
}

bool plans_name(struct plans *p, const char *sql, int64_t now_ms, char ret_name[static PLANS_NAME_MAX])
{
	int n = 0;

	while (n < p->count && p->sql[n] != sql)
		n++;
	snprintf(ret_name, PLANS_NAME_MAX, "outboxd_%016" PRIx64 "_%d", p->salt, n);
	if (n < p->count)
		return true;
	assert(n < PLANS_MAX);
	if (n == 0)
		p->since_ms = now_ms;
	p->sql[p->count++] = sql;
	return false;
}
