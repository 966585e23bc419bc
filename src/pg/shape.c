// SPDX-License-Identifier: MIT
#include "pg/shape.h"

#include "base/mem.h"
#include "pg/sql.h"

#include <string.h>

static bool judge(const struct mapping *m, const char *shape, enum shape *ret, struct err *e)
{
	*ret = !shape ? SHAPE_MISSING : strcmp(shape, "partitioned") == 0 ? SHAPE_PARTITIONED : SHAPE_PLAIN;
	return !shape || *ret == SHAPE_PARTITIONED || strcmp(shape, "plain") == 0 ||
	       err_set(e, ERR_CONFIG, "outbox.table: table %s: %s", m->table, shape);
}

bool shape_read(struct mapping *m, struct sync *db, enum shape *ret, struct err *e)
{
	auto_free char *sql = mapping_expand(m, sql_query_table_shape, NULL);
	struct pg_result *res = sync_query(db, sql, NULL, 0, e);
	bool ok = res && judge(m, sync_rows(res) > 0 ? sync_text(res, 0, 0) : NULL, ret, e);

	sync_free(res);
	if (ok && *ret == SHAPE_PARTITIONED)
		mapping_partition(m);
	return ok;
}
