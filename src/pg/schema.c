// SPDX-License-Identifier: MIT
#include "pg/schema.h"

#include "base/buf.h"
#include "base/mem.h"
#include "pg/mapping.h"
#include "pg/sql.h"
#include "pg/sqlstate.h"
#include "pg/sync.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// pg_type OIDs of the integer types: fixed for ever in PostgreSQL's catalogue.
#define OID_INT8 20u
#define OID_INT2 21u
#define OID_INT4 23u

struct init {
	const struct config *config;
	struct mapping mapping;
	struct sync *db;
	struct buf done; // what was done, said once it is committed
	bool existed;    // the table was there before
};

static bool exec(struct init *in, const char *sql, const char *extra, struct err *e)
{
	auto_free char *text = mapping_expand(&in->mapping, sql, extra);

	return sync_exec(in->db, text, e);
}

static struct pg_result *query(struct init *in, const char *sql, const char *const *params, int count,
			       struct err *e)
{
	auto_free char *text = mapping_expand(&in->mapping, sql, NULL);

	return sync_query(in->db, text, params, count, e);
}

// The first column of the first row as a bool.
static bool ask(struct init *in, const char *sql, const char *const *params, int count, bool *ret_yes,
		struct err *e)
{
	struct pg_result *res = query(in, sql, params, count, e);

	if (!res)
		return false;
	*ret_yes = sync_rows(res) > 0 && sync_text(res, 0, 0) && sync_text(res, 0, 0)[0] == 't';
	sync_free(res);
	return true;
}

static bool find_table(struct init *in, struct err *e)
{
	struct pg_result *res = query(in, sql_query_table_kind, NULL, 0, e);
	bool children = false;
	char kind = 0;

	if (!res)
		return false;
	if (sync_rows(res) > 0)
		kind = sync_text(res, 0, 0)[0];
	sync_free(res);
	in->existed = kind != 0;
	if (kind == 'r' && !ask(in, sql_query_children, NULL, 0, &children, e))
		return false;
	if (children)
		return err_set(e, ERR_CONFIG,
			       "outbox.table: other tables inherit from %s; outboxd needs a table of its own",
			       in->config->outbox_table);
	if (kind == 0 || kind == 'r')
		return true;
	return err_set(e, ERR_CONFIG, "outbox.table: %s is not an ordinary table (kind '%c' in pg_class)",
		       in->config->outbox_table, kind);
}

// Every migration is idempotent and is run each time, so that init also mends what somebody dropped; the journal only
// tells what is news.
static bool migrate_one(struct init *in, int number, const char *name, const char *text, struct err *e)
{
	char digits[16];
	const char *const params[] = { digits, name };
	struct pg_result *res;
	bool known;

	snprintf(digits, sizeof(digits), "%d", number);
	if (!ask(in, sql_query_journal_has, params, 1, &known, e))
		return false;
	if (!exec(in, text, NULL, e))
		return err_prefix(e, "migration %04d_%s", number, name);
	res = query(in, sql_query_journal_add, params, 2, e);
	if (!res)
		return false;
	sync_free(res);
	if (!known || !in->existed)
		buf_addf(&in->done, "applied %04d_%s\n", number, name);
	return true;
}

static bool migrate(struct init *in, struct err *e)
{
	if (!exec(in, sql_query_journal, NULL, e))
		return false;
	if (in->mapping.keyed_by_seq && ((!in->existed && !exec(in, sql_query_debezium_table, NULL, e)) ||
					 !exec(in, sql_query_seq, NULL, e)))
		return false;
	for (size_t i = 0; sql_migrations[i].name; i++) {
		if (!migrate_one(in, sql_migrations[i].number, sql_migrations[i].name, sql_migrations[i].text,
				 e))
			return false;
	}
	return true;
}

// The fields of the mapping by name, so that an error names the setting to correct.
static const struct field {
	const char *name;
	size_t at;
	bool integer;
} fields[] = {
	{ "id", offsetof(struct mapping, id), true },
	{ "index", offsetof(struct mapping, index), false },
	{ "document_id", offsetof(struct mapping, document_id), false },
	{ "operation", offsetof(struct mapping, operation), false },
	{ "version", offsetof(struct mapping, version), true },
	{ "routing", offsetof(struct mapping, routing), false },
	{ "pipeline", offsetof(struct mapping, pipeline), false },
	{ "trace", offsetof(struct mapping, trace), false },
	{ "document", offsetof(struct mapping, document), false },
	{ "key", offsetof(struct mapping, key), false }, // after what it is derived from
};

static bool check_field(struct init *in, const struct field *f, struct err *e)
{
	const char *expression = *(char *const *)(const void *)((const char *)&in->mapping + f->at);
	auto_buf sql = { 0 };
	unsigned type = 0;

	buf_init(&sql, 1024 * 1024);
	buf_addf(&sql, "SELECT (%s)%s FROM %s o", expression, f->integer ? "" : "::text", in->mapping.table);
	if (!sync_describe(in->db, buf_str(&sql), &type, e)) {
		e->kind = ERR_CONFIG;
		return err_prefix(
			e,
			"outbox.%s = %s cannot be read from table %s; set outbox.%s to an SQL expression over the "
			"row o",
			f->name, expression, in->config->outbox_table, f->name);
	}
	if (!f->integer || type == OID_INT8 || type == OID_INT4 || type == OID_INT2 ||
	    strcmp(expression, "NULL") == 0)
		return true;
	return err_set(
		e, ERR_CONFIG,
		"outbox.%s = %s is not an integer, so it cannot order events; add one to the table "
		"(ALTER TABLE %s ADD COLUMN seq bigint GENERATED BY DEFAULT AS IDENTITY) and set outbox.id = o.seq",
		f->name, expression, in->mapping.table);
}

// The relay's own columns may have been there before, with types of their own.
static bool check_columns(struct init *in, struct err *e)
{
	auto_free char *sql = mapping_expand(&in->mapping, sql_query_column_types, NULL);
	unsigned type;

	if (sync_describe(in->db, sql, &type, e))
		return true;
	e->kind = ERR_CONFIG;
	return err_prefix(
		e,
		"a column of table %s has a type that outboxd cannot use (processed boolean, processed_at, "
		"created_at, retry_at and dead_at timestamptz, attempts integer, error jsonb)",
		in->config->outbox_table);
}

static bool check_mapping(struct init *in, struct err *e)
{
	struct pg_result *res;
	bool cached;

	if (!check_columns(in, e))
		return false;

	for (size_t i = 0; i < array_len(fields); i++) {
		if (!check_field(in, &fields[i], e))
			return false;
	}
	res = query(in, sql_query_cached_sequence, NULL, 0, e);
	if (!res)
		return false;
	cached = sync_rows(res) > 0;
	if (cached)
		err_set(e, ERR_CONFIG,
			"sequence %s has CACHE %s: a later event could get a smaller id than an earlier one; "
			"run ALTER SEQUENCE %s CACHE 1",
			sync_text(res, 0, 0), sync_text(res, 0, 1), sync_text(res, 0, 0));
	sync_free(res);
	return !cached;
}

// Not in the transaction: CONCURRENTLY leaves the application's writers alone while a large table is read.
static bool make_index(struct init *in, struct err *e)
{
	bool invalid;

	if (!ask(in, sql_query_lane_index_invalid, NULL, 0, &invalid, e))
		return false;
	if (invalid && !exec(in, sql_query_lane_index_drop, NULL, e))
		return false;
	if (exec(in, sql_query_lane_index, in->existed ? "CONCURRENTLY" : "", e))
		return true;
	if (strcmp(e->sqlstate, "42P17") == 0 || strcmp(e->sqlstate, "0A000") == 0) {
		e->kind = ERR_CONFIG;
		return err_prefix(
			e,
			"outbox.key = %s cannot be indexed; set outbox.key to an immutable expression over columns "
			"of %s that is the same for all events of one document",
			in->mapping.key, in->mapping.table);
	}
	return err_prefix(e, "index %s", in->mapping.lane_index);
}

static bool make_extras(struct init *in, bool notify, struct err *e)
{
	bool publishable;

	if (!ask(in, sql_query_publishable, NULL, 0, &publishable, e))
		return false;
	if (publishable && !exec(in, sql_query_publish, NULL, e))
		return err_prefix(e, "function %s", in->mapping.publish);
	if (publishable)
		buf_addf(&in->done, "function %s is ready\n", in->mapping.publish);
	if (notify && !exec(in, sql_query_notify, NULL, e))
		return err_prefix(e, "trigger outboxd_notify");
	if (notify)
		buf_addf(&in->done, "trigger outboxd_notify wakes the relays\n");
	return true;
}

static bool prepare_table(struct init *in, bool notify, struct err *e)
{
	return sync_exec(in->db,
			 "BEGIN; SET LOCAL lock_timeout = '30s'; "
			 "SELECT pg_advisory_xact_lock(hashtextextended('outboxd init', 0))",
			 e) &&
	       find_table(in, e) && migrate(in, e) && check_mapping(in, e) && make_extras(in, notify, e) &&
	       sync_exec(in->db, "COMMIT", e); // closing the connection after a failure rolls back
}

// Undefined, misnamed, not permitted, no such schema: nothing that waiting would cure.
static void blame_configuration(struct err *e)
{
	if (sqlstate_action(e->sqlstate) == PG_FIX)
		e->kind = ERR_CONFIG;
}

bool schema_init(const struct config *config, bool notify, FILE *out, struct err *e)
{
	struct init in = { .config = config };
	bool ok;

	if (!mapping_init(&in.mapping, config, e))
		return false;
	buf_init(&in.done, 64 * 1024);
	in.db = sync_open(config->postgres_dsn, e);
	ok = in.db && prepare_table(&in, notify, e);
	if (ok)
		fputs(buf_str(&in.done), out);
	ok = ok && make_index(&in, e);
	if (!ok)
		blame_configuration(e);
	buf_done(&in.done);
	if (ok)
		fprintf(out, "table %s is ready\n", in.mapping.table);
	sync_close(in.db);
	mapping_done(&in.mapping);
	return ok;
}

static void print(const struct mapping *m, const char *sql, FILE *out)
{
	auto_free char *text = mapping_expand(m, sql, NULL);
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ';'))
		len--;
	fprintf(out, "%.*s;\n\n", (int)len, text);
}

bool schema_print(const struct config *config, bool notify, FILE *out, struct err *e)
{
	struct mapping m;

	if (!mapping_init(&m, config, e))
		return false;
	if (m.keyed_by_seq) {
		print(&m, sql_query_debezium_table, out);
		print(&m, sql_query_seq, out);
	}
	for (size_t i = 0; sql_migrations[i].name; i++)
		print(&m, sql_migrations[i].text, out);
	print(&m, sql_query_lane_index, out);
	if (config->outbox_preset != PRESET_DEBEZIUM)
		print(&m, sql_query_publish, out);
	if (notify)
		print(&m, sql_query_notify, out);
	mapping_done(&m);
	return true;
}
