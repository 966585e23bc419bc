// SPDX-License-Identifier: MIT
#include "base/buf.h"
#include "base/mem.h"
#include "cmd/probe.h"
#include "core/row.h"
#include "pg/mapping.h"
#include "pg/shape.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MS_MAX 30000

struct probe_table {
	struct mapping mapping;
	struct sync *db;
	const char *insert; // the SQL that writes an event
	bool published;     // ... and gives back its id
};

static struct pg_result *query(struct probe_table *t, const char *sql, const char *const *params, int count,
			       struct err *e)
{
	auto_free char *text = mapping_expand(&t->mapping, sql, NULL);

	return sync_query(t->db, text, params, count, e);
}

static bool judge(struct probe_table *t, const struct pg_result *res, struct err *e)
{
	const char *missing = sync_text(res, 0, 1);

	if (!sync_true(res, 0, 0))
		return err_set(e, ERR_CONFIG, "there is no table %s, run `outboxd init`", t->mapping.table);
	if (sync_true(res, 0, 3))
		return err_set(e, ERR_REFUSED,
			       "this server is a standby: an event is written on the primary");
	if (*missing)
		return err_set(e, ERR_REFUSED,
			       "a probe needs the privileges SELECT, INSERT and DELETE, missing here: run "
			       "GRANT %s ON %s TO %s",
			       missing, t->mapping.table, sync_text(res, 0, 2));
	t->published = sync_true(res, 0, 4);
	t->insert = sync_true(res, 0, 4)   ? sql_query_probe_publish
		    : sync_true(res, 0, 5) ? sql_query_probe_insert
		    : sync_true(res, 0, 6) ? sql_query_probe_debezium
					   : NULL;
	return t->insert ||
	       err_set(e, ERR_REFUSED,
		       "table %s has columns of its own (no aggregate_type, aggregate_id, data), so a probe does not know "
		       "how to write an event into it: write one as your application does, and see `outboxd status`",
		       t->mapping.table);
}

struct probe_table *probe_table_open(const struct config *config, struct err *e)
{
	struct probe_table *t = mem_calloc(1, sizeof(*t));
	struct pg_result *res = NULL;
	bool ok = mapping_init(&t->mapping, config, e);
	enum shape shape;

	t->db = ok ? sync_open(config->postgres_dsn, e) : NULL;
	if (t->db) {
		sync_limit(t->db, ANSWER_MS_MAX);
		res = query(t, sql_query_probe_allowed, NULL, 0, e);
	}
	ok = res && judge(t, res, e) && shape_read(&t->mapping, t->db, &shape, e);
	sync_free(res);
	if (ok)
		return t;
	probe_table_close(t);
	return NULL;
}

void probe_table_close(struct probe_table *t)
{
	if (!t)
		return;
	sync_close(t->db);
	mapping_done(&t->mapping);
	free(t);
}

void probe_event_done(struct probe_event *event)
{
	free(event->document_id);
	free(event->routing);
	*event = (struct probe_event){ 0 };
}

static bool differs(struct slice s, const char *text)
{
	return s.n != strlen(text) || memcmp(s.p, text, s.n) != 0;
}

// Is it what the probe meant? Else the probe would write where it has no business.
static bool is_meant(struct probe_table *t, const struct row *row, const char *index,
		     const struct probe_event *deleted, struct err *e)
{
	struct refusal why;
	enum op op;

	if (!row_check(row, &op, &why))
		return err_set(e, ERR_REFUSED,
			       "the mapping makes an event of the probe that would go dead: %s: %s", why.type,
			       why.reason);
	if (differs(row->index, index))
		return err_set(
			e, ERR_REFUSED,
			"outbox.index = %s sends the probe to the index %.*s instead of %s; say --index %.*s to write "
			"its document there",
			t->mapping.index, (int)row->index.n, row->index.p, index, (int)row->index.n,
			row->index.p);
	if ((op == OP_DELETE) != (deleted != NULL) ||
	    (deleted && differs(row->document_id, deleted->document_id)))
		return err_set(
			e, ERR_REFUSED,
			"the mapping (outbox.operation, document, document_id) makes of the probe's %s "
			"a %s of %.*s: no probe can be sent through it",
			deleted ? "delete" : "document", op_name(op), (int)row->document_id.n,
			row->document_id.p);
	return true;
}

static bool read_event(struct probe_table *t, const char *tid, const char *index,
		       const struct probe_event *deleted, struct probe_event *ret, struct err *e)
{
	struct pg_result *res = query(t, sql_query_probe_row, &tid, 1, e);
	struct row row;
	bool ok = res && sync_rows(res) > 0;

	if (ok) {
		sync_row(res, 0, &row);
		ok = is_meant(t, &row, index, deleted, e);
	}
	if (ok)
		*ret = (struct probe_event){
			.id = row.id,
			.document_id = mem_strndup(row.document_id.p, row.document_id.n),
			.routing = row.routing.p ? mem_strndup(row.routing.p, row.routing.n) : NULL,
		};
	sync_free(res);
	return ok;
}

static bool insert(struct probe_table *t, const char *const *params, char **ret_tid, struct err *e)
{
	struct pg_result *res = query(t, t->insert, params, 3, e);

	if (res && t->published) {
		auto_free char *id = mem_strdup(sync_text(res, 0, 0));
		const char *const by_id[] = { id };

		sync_free(res);
		res = query(t, sql_query_probe_published, by_id, 1, e);
	}
	if (res && sync_rows(res) == 0) {
		sync_free(res);
		return err_set(e, ERR_REFUSED,
			       "the row that was written cannot be seen: row security or a trigger");
	}
	if (res)
		*ret_tid = mem_strdup(sync_text(res, 0, 0));
	sync_free(res);
	return res;
}

bool probe_publish(struct probe_table *t, const char *index, const char *name,
		   const struct probe_event *deleted, struct probe_event *ret, struct err *e)
{
	const char *const params[] = { index, name, deleted ? NULL : "{\"outboxd_probe\": true}" };
	auto_free char *tid = NULL;
	struct err ignored;
	bool ok = sync_exec(t->db, "BEGIN", e) && insert(t, params, &tid, e) &&
		  read_event(t, tid, index, deleted, ret, e);

	if (ok && sync_exec(t->db, "COMMIT", e))
		return true;
	probe_event_done(ret);
	(void)!sync_exec(t->db, "ROLLBACK", &ignored);
	return false;
}

bool probe_delivered(struct probe_table *t, int64_t id, bool *ret_done, struct err *e)
{
	char digits[24];
	const char *const params[] = { digits };
	struct pg_result *res;
	bool dead;

	(void)snprintf(digits, sizeof(digits), "%lld", (long long)id);
	res = query(t, sql_query_probe_state, params, 1, e);
	if (!res)
		return false;
	*ret_done = sync_rows(res) == 0 || sync_true(res, 0, 0);
	dead = !*ret_done && sync_true(res, 0, 1);
	if (dead)
		err_set(e, ERR_REFUSED, "Elasticsearch refuses its document: %s: %s", sync_text(res, 0, 2),
			sync_text(res, 0, 3));
	sync_free(res);
	return !dead;
}

bool probe_remove(struct probe_table *t, const int64_t *ids, int count, struct err *e)
{
	auto_buf array = { 0 };
	struct pg_result *res;

	buf_init(&array, 1024);
	for (int i = 0; i < count; i++)
		buf_addf(&array, "%c%lld", i ? ',' : '{', (long long)ids[i]);
	buf_addc(&array, '}');

	const char *const params[] = { buf_str(&array) };

	res = query(t, sql_query_probe_delete, params, 1, e);
	sync_free(res);
	return res;
}
