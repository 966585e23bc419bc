// SPDX-License-Identifier: MIT
#include "pg/operator.h"

#include "base/attr.h"
#include "pg/desk.h"
#include "pg/sql.h"
#include "pg/sync.h"

// READ COMMITTED, whatever the role's default: what its lock waited for must be seen.
struct pg_result *operator_raise_sequence(const struct config *config, struct err *e)
{
	static const char *const steps[] = { sql_query_begin, sql_query_raise_sequence, sql_query_raised,
					     sql_query_commit };
	struct desk *d = desk_open(config, e);
	struct pg_result *res = NULL;
	bool ok = d != NULL;

	for (size_t i = 0; ok && i < array_len(steps); i++) {
		struct pg_result *done = desk_query(d, steps[i], NULL, 0, e);

		ok = done != NULL;
		if (steps[i] == sql_query_raised)
			res = done;
		else
			sync_free(done);
	}
	if (!ok) {
		sync_free(res);
		res = NULL;
	}
	desk_close(d);
	return res;
}
