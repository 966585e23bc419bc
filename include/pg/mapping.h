// SPDX-License-Identifier: MIT
// How the outbox table is read: its name and an SQL expression over the row `o` for every field, from the preset
// and the configuration, and the SQL files with these put in.
#ifndef OUTBOXD_PG_MAPPING_H
#define OUTBOXD_PG_MAPPING_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct mapping {
	// Expressions over `o`; never NULL.
	char *id, *key, *index, *document_id, *operation, *version, *routing, *pipeline, *trace, *refresh,
		*document;
	// Identifiers, quoted as SQL wants them, with the schema where the configuration names one.
	char *table, *lane_index, *publish, *notify;
	char *parked_index;     // without schema: an index goes where its table is
	char *parked_qualified; // with it
	char *lane_index_name;
	char *journal; // the table of migrations, beside the outbox table
	// Literals and derived expressions.
	char *table_literal, *lane_index_literal, *channel, *channel_literal;
	char *listen; // the statement
	char *id_column_literal, *seq_index;
	char *lane, *lane_class, *id_column, *key_column;
	char *dead_selected, *tracks;  // dead_selected.sql, tracks.sql
	char *shape, *partitions;      // shape.sql, partitions.sql
	char *rotate, *rotate_literal; // the function that makes and drops partitions
	// What tells a row from others within a statement: its ctid, or the id where the table is partitioned.
	char *row, *row_type;
	char *bound_below, *purge_below, *partition_by, *unmoved; // empty unless partitioned
	char *only; // ONLY of a plain table: should a partitioned one take its place, no row of that is meant
	bool version_is_id; // so that a version says when it was drawn
	bool keyed_by_seq;  // the debezium preset orders by a column that `init` adds
};

// The fields by the names of their settings; ends with a NULL name. A key comes after what it is derived from.
struct mapping_field {
	const char *name;
	size_t at;
	bool integer;
};
extern const struct mapping_field mapping_fields[];
const char *mapping_expression(const struct mapping *m, const struct mapping_field *f);

bool mapping_init(struct mapping *m, const struct config *c, struct err *e) must_check;
void mapping_done(struct mapping *m);
// From now on it is that of a partitioned table.
void mapping_partition(struct mapping *m);

// The SQL text with every {name} of the mapping put in and leading comment lines left out. `extra` replaces
// {concurrently} and {role}, may be NULL. The caller owns the text.
char *mapping_expand(const struct mapping *m, const char *sql, const char *extra);

// What else is put in, before the mapping is asked; of two with the same name the later one.
struct blank {
	const char *name, *value;
};
char *mapping_fill(const struct mapping *m, const char *sql, const struct blank *blanks, int count);

#endif
