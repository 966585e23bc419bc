// SPDX-License-Identifier: MIT
// The blanks of the SQL files, and what a mapping puts into them.
#include "base/buf.h"
#include "pg/mapping.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SQL_MAX (1024 * 1024)

// The names that SQL files may use.
static const struct placeholder {
	const char *name;
	size_t at;
} placeholders[] = {
	{ "id", offsetof(struct mapping, id) },
	{ "key", offsetof(struct mapping, key) },
	{ "index", offsetof(struct mapping, index) },
	{ "document_id", offsetof(struct mapping, document_id) },
	{ "operation", offsetof(struct mapping, operation) },
	{ "version", offsetof(struct mapping, version) },
	{ "routing", offsetof(struct mapping, routing) },
	{ "pipeline", offsetof(struct mapping, pipeline) },
	{ "trace", offsetof(struct mapping, trace) },
	{ "refresh", offsetof(struct mapping, refresh) },
	{ "document", offsetof(struct mapping, document) },
	{ "table", offsetof(struct mapping, table) },
	{ "table_literal", offsetof(struct mapping, table_literal) },
	{ "lane_index", offsetof(struct mapping, lane_index_name) },
	{ "lane_index_qualified", offsetof(struct mapping, lane_index) },
	{ "journal", offsetof(struct mapping, journal) },
	{ "lane_index_literal", offsetof(struct mapping, lane_index_literal) },
	{ "parked_index", offsetof(struct mapping, parked_index) },
	{ "parked_qualified", offsetof(struct mapping, parked_qualified) },
	{ "publish", offsetof(struct mapping, publish) },
	{ "notify", offsetof(struct mapping, notify) },
	{ "channel_literal", offsetof(struct mapping, channel_literal) },
	{ "lane", offsetof(struct mapping, lane) },
	{ "lane_class", offsetof(struct mapping, lane_class) },
	{ "id_column_literal", offsetof(struct mapping, id_column_literal) },
	{ "seq_index", offsetof(struct mapping, seq_index) },
	{ "id_column", offsetof(struct mapping, id_column) },
	{ "key_column", offsetof(struct mapping, key_column) },
	{ "dead_selected", offsetof(struct mapping, dead_selected) },
	{ "tracks", offsetof(struct mapping, tracks) },
	{ "shape", offsetof(struct mapping, shape) },
	{ "partitions", offsetof(struct mapping, partitions) },
	{ "rotate", offsetof(struct mapping, rotate) },
	{ "rotate_literal", offsetof(struct mapping, rotate_literal) },
	{ "row", offsetof(struct mapping, row) },
	{ "row_type", offsetof(struct mapping, row_type) },
	{ "bound_below", offsetof(struct mapping, bound_below) },
	{ "purge_below", offsetof(struct mapping, purge_below) },
	{ "partition_by", offsetof(struct mapping, partition_by) },
	{ "unmoved", offsetof(struct mapping, unmoved) },
	{ "only", offsetof(struct mapping, only) },
};

static const char *look_up(const struct mapping *m, const char *name, size_t len)
{
	for (size_t i = 0; i < array_len(placeholders); i++) {
		if (strlen(placeholders[i].name) == len && memcmp(placeholders[i].name, name, len) == 0)
			return *(char *const *)(const void *)((const char *)m + placeholders[i].at);
	}
	return NULL;
}

// The last blank of a name is the one that counts.
static const char *find_blank(const struct blank *blanks, int count, const char *name, size_t len)
{
	for (int i = count - 1; i >= 0; i--) {
		if (strlen(blanks[i].name) == len && strncmp(blanks[i].name, name, len) == 0)
			return blanks[i].value;
	}
	return NULL;
}

char *mapping_fill(const struct mapping *m, const char *sql, const struct blank *blanks, int count)
{
	struct buf out;

	buf_init(&out, SQL_MAX);
	while (strncmp(sql, "--", 2) == 0) {
		sql += strcspn(sql, "\n");
		sql += *sql == '\n';
	}
	while (*sql) {
		size_t n = *sql == '{' ? strspn(sql + 1, "abcdefghijklmnopqrstuvwxyz_") : 0;
		bool closed = n > 0 && sql[n + 1] == '}';
		const char *value = closed ? find_blank(blanks, count, sql + 1, n) : NULL;

		if (closed && !value)
			value = look_up(m, sql + 1, n);
		if (value) {
			buf_adds(&out, value);
			sql += n + 2;
		} else {
			buf_addc(&out, *sql++);
		}
	}
	return buf_take(&out);
}

char *mapping_expand(const struct mapping *m, const char *sql, const char *extra)
{
	const char *value = extra ? extra : "";
	const struct blank blanks[] = { { "concurrently", value }, { "role", value } };

	return mapping_fill(m, sql, blanks, (int)array_len(blanks));
}

void mapping_done(struct mapping *m)
{
	for (size_t i = 0; i < array_len(placeholders); i++) {
		char **at = (char **)(void *)((char *)m + placeholders[i].at);

		free(*at);
		*at = NULL;
	}
	free(m->channel);
	free(m->listen);
	m->channel = m->listen = NULL;
}
