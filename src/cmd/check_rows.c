// SPDX-License-Identifier: MIT
// The mapping, tried on real rows without sending anything; and which indexes these rows name.
#include "base/buf.h"
#include "base/mem.h"
#include "cmd/check.h"
#include "core/row.h"
#include "pg/sql.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAPPING "mapping"
#define SQL_MAX ((size_t)1024 * 1024)
#define ADVICE "correct the expression, or the rows; the relay makes such rows dead and delivers the others"

// Evaluates one field, of the rows $1, and gives little back.
static char *field_query(const struct look *look, const struct mapping_field *f)
{
	struct buf sql;

	buf_init(&sql, SQL_MAX);
	buf_addf(&sql,
		 "SELECT sum(octet_length((%s)::%s)) FROM {table} o WHERE o.{row} = ANY ($1::{row_type}[])",
		 mapping_expression(&look->mapping, f), f->integer ? "bigint::text" : "text");
	return buf_take(&sql);
}

// The rows one by one, to find those on which it fails.
static void find_rows(struct look *look, const struct mapping_field *f, const char *sql,
		      const char *const *rows)
{
	struct pg_result *names = look_query(look, MAPPING, "the rows", sql_query_check_names, rows, 1);
	struct err e = { 0 }, first = { 0 };
	int failed = 0, first_row = 0, count = names ? sync_rows(names) : 0;

	for (int r = 0; r < count; r++) {
		auto_buf row = { 0 };

		buf_init(&row, 64);
		buf_addf(&row, "{\"%s\"}", sync_text(names, r, 0));

		const char *const params[] = { buf_str(&row) };
		struct pg_result *res = look_try(look, sql, params, 1, &e);

		if (!res && failed++ == 0) {
			first = e;
			first_row = r;
		}
		sync_free(res);
	}
	if (failed > 0 && !look->gone)
		findings_add(&look->checkup->findings, MAPPING, FINDING_PROBLEM, ADVICE,
			     "outbox.%s = %s fails on %d of %d rows, first on event %s: %s %s", f->name,
			     mapping_expression(&look->mapping, f), failed, count,
			     sync_text(names, first_row, 1) ? sync_text(names, first_row, 1) : "NULL",
			     first.sqlstate, first.text);
	sync_free(names);
}

// False: the field cannot be had of all the rows.
static bool try_field(struct look *look, const struct mapping_field *f, const char *const *rows)
{
	auto_free char *sql = field_query(look, f);
	struct err e = { 0 };
	struct pg_result *res = look_try(look, sql, rows, 1, &e);

	sync_free(res);
	if (res)
		return true;
	if (strcmp(e.sqlstate, "25006") == 0) // read_only_sql_transaction: ours
		findings_add(&look->checkup->findings, MAPPING, FINDING_WARNING,
			     "an expression should only read",
			     "outbox.%s = %s writes, so it was not tried: %s", f->name,
			     mapping_expression(&look->mapping, f), e.text);
	else if (!look->gone)
		find_rows(look, f, sql, rows);
	return false;
}

static bool try_fields(struct look *look, const char *const *rows)
{
	bool good = true;

	for (const struct mapping_field *f = mapping_fields; f->name; f++) {
		struct err e = { 0 };

		if (!look_field(look, f, &e)) {
			good = false;
			if (!look->gone)
				findings_add(&look->checkup->findings, MAPPING, FINDING_PROBLEM,
					     "correct that setting", "%s", e.text);
		} else if (rows && !try_field(look, f, rows)) {
			good = false;
		}
	}
	return good;
}

static struct target *target_of(struct checkup *c, const char *index)
{
	for (int i = 0; i < c->target_count; i++) {
		if (strcmp(c->targets[i].index, index) == 0)
			return &c->targets[i];
	}
	if (c->target_count == TARGETS_MAX)
		return NULL;
	c->targets[c->target_count] = (struct target){ .index = mem_strdup(index), .ids = json_array() };
	return &c->targets[c->target_count++];
}

struct tally {
	int pending, delivered; // rows that the relay would refuse, of each kind
	char id[24];            // of the first of them
	struct refusal why;
};

// *ret_op is not set for a query, which is none of a document.
static bool is_fine(const struct row *row, const char *queries, enum op *ret_op, struct refusal *why)
{
	if (row_is_query(row))
		return row_check_query(row, queries, NULL, why);
	return row_check(row, ret_op, why) && row_check_whole(row, *ret_op, queries, why);
}

static void check_row(struct look *look, const struct pg_result *res, int r, struct tally *tally)
{
	const char *id = sync_text(res, r, 0);
	struct row row;
	struct refusal why = { 0 };
	struct target *target;
	enum op op = OP_DELETE;

	sync_row(res, r, &row);
	if (!is_fine(&row, look->checkup->config->outbox_delete_by_query, &op, &why)) {
		if (tally->pending + tally->delivered == 0) {
			tally->why = why;
			(void)snprintf(tally->id, sizeof(tally->id), "%s", id ? id : "NULL");
		}
		if (sync_true(res, r, 8))
			tally->delivered++;
		else
			tally->pending++;
		return;
	}
	target = target_of(look->checkup, row.index.p);
	if (!target) {
		look->checkup->targets_unseen++;
		return;
	}
	target->ops |= 1u << op;
	if (op != OP_CREATE && !row_is_query(&row))
		json_array_append_new(target->ids, json_string(row.document_id.p));
}

static void check_sample(struct look *look, const char *const *rows)
{
	struct findings *f = &look->checkup->findings;
	struct pg_result *res = look_query(look, MAPPING, "the rows", sql_query_check_rows, rows, 1);
	struct tally tally = { 0 };
	int count = res ? sync_rows(res) : 0;

	for (int r = 0; r < count; r++)
		check_row(look, res, r, &tally);
	sync_free(res);
	if (!res)
		return;
	if (tally.pending + tally.delivered == 0)
		findings_add(f, MAPPING, FINDING_OK, "", "it was tried on %d rows: none would be refused",
			     count);
	else
		findings_add(
			f, MAPPING, tally.pending > 0 ? FINDING_PROBLEM : FINDING_WARNING,
			"mend these rows, or the mapping; afterwards `outboxd requeue` those that are dead",
			"%d rows to deliver%s would go dead, of %d looked at; first event %s: %s: %s",
			tally.pending, tally.delivered > 0 ? ", and delivered ones if they came again," : "",
			count, tally.id, tally.why.type, tally.why.reason);
}

// Without any row there may still be an index: the one that is the same for all.
static void constant_target(struct look *look)
{
	struct err ignored;
	struct pg_result *res = look_try(look, sql_query_check_index, NULL, 0, &ignored);

	if (res && sync_text(res, 0, 0))
		(void)target_of(look->checkup, sync_text(res, 0, 0));
	sync_free(res);
}

void check_rows(struct look *look)
{
	struct pg_result *res = look_query(look, MAPPING, "the newest rows", sql_query_check_sample, NULL, 0);
	const char *rows = res ? sync_text(res, 0, 0) : NULL;
	bool any = rows && strcmp(sync_text(res, 0, 1), "0") != 0, good;

	good = try_fields(look, any ? &rows : NULL);
	if (good && any)
		check_sample(look, &rows);
	else if (good && res)
		findings_add(&look->checkup->findings, MAPPING, FINDING_OK, "",
			     "the server understands it; there are no rows to try it on");
	if (!look->gone)
		constant_target(look);
	sync_free(res);
}
