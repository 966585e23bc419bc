// SPDX-License-Identifier: MIT
#include "pg/source.h"

#include "base/attr.h"
#include "base/mem.h"
#include "pg/mapping.h"
#include "pg/sql.h"
#include "pg/sqlstate.h"
#include "pg/sync.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS_MAX 64

struct source {
	struct mapping mapping;
	struct sync *db;
	bool by_document; // the newest event of a document is its state
	struct blank blanks[BLANKS_MAX];
	int blank_count;
	struct pg_result **kept; // the blanks borrow from them
	size_t kept_count;
};

struct source *source_open(const struct config *config, struct err *e)
{
	struct source *s = mem_calloc(1, sizeof(*s));

	s->by_document = config->outbox_preset == PRESET_DOCUMENT;
	if (mapping_init(&s->mapping, config, e)) {
		s->db = sync_open(config->postgres_dsn, e);
		if (s->db)
			return s;
	}
	source_close(s);
	return NULL;
}

void source_close(struct source *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->kept_count; i++)
		sync_free(s->kept[i]);
	free(s->kept);
	sync_close(s->db);
	mapping_done(&s->mapping);
	free(s);
}

struct sync *source_db(const struct source *s)
{
	return s->db;
}

const struct mapping *source_mapping(const struct source *s)
{
	return &s->mapping;
}

bool source_begin(struct source *s, struct err *e)
{
	return sync_exec(s->db, sql_query_source_begin, e);
}

bool source_commit(struct source *s, struct err *e)
{
	return sync_exec(s->db, sql_query_commit, e);
}

bool source_rollback(struct source *s, struct err *e)
{
	return sync_exec(s->db, sql_query_rollback, e);
}

void source_put(struct source *s, const char *name, const char *value)
{
	assert(s->blank_count < BLANKS_MAX);
	s->blanks[s->blank_count++] = (struct blank){ name, value ? value : "" };
}

const char *source_get(const struct source *s, const char *name)
{
	const char *value = NULL;

	for (int i = s->blank_count - 1; i >= 0 && !value; i--) {
		if (strcmp(s->blanks[i].name, name) == 0)
			value = s->blanks[i].value;
	}
	assert(value);
	return value ? value : "";
}

bool source_is(const struct source *s, const char *name)
{
	return strcmp(source_get(s, name), "t") == 0;
}

int source_mark(const struct source *s)
{
	return s->blank_count;
}

void source_forget(struct source *s, int mark)
{
	s->blank_count = mark;
}

char *source_fill(const struct source *s, const char *sql)
{
	return mapping_fill(&s->mapping, sql, s->blanks, s->blank_count);
}

struct pg_result *source_query(struct source *s, const char *sql, const char *const *params, int count,
			       struct err *e)
{
	auto_free char *text = source_fill(s, sql);

	return sync_query(s->db, text, params, count, e);
}

struct pg_result *source_ask(struct source *s, const char *sql, const char *const *params, int count,
			     struct err *e)
{
	struct pg_result *res = source_begin(s, e) ? source_query(s, sql, params, count, e) : NULL;

	if (res && source_commit(s, e))
		return res;
	sync_free(res);
	return NULL;
}

bool source_look(struct source *s, const char *sql, const char *const *params, int count, struct err *e)
{
	struct pg_result *res = source_query(s, sql, params, count, e);

	if (!res)
		return false;
	s->kept = mem_realloc(s->kept, s->kept_count + 1, sizeof(struct pg_result *));
	s->kept[s->kept_count++] = res;
	if (sync_rows(res) == 0)
		return err_set(e, ERR_CONFIG, "run `outboxd init` first");
	if (sync_text(res, 0, 0))
		return err_set(e, ERR_CONFIG, "%s", sync_text(res, 0, 0));
	for (int c = 1; c < sync_columns(res); c++)
		source_put(s, sync_column(res, c), sync_text(res, 0, c));
	return true;
}

// Before anything depends on it: triggers would fail in the application's hands.
static bool understands_document(struct source *s, struct err *e)
{
	auto_free char *sql = source_fill(s, sql_query_track_sample);
	enum pg_action action;
	unsigned type;

	if (sync_describe(s->db, sql, &type, e))
		return true;
	action = sqlstate_action(e->sqlstate);
	if (action != PG_FIX && action != PG_ROW)
		return false; // the server's trouble, or a lock; the document's not
	e->kind = ERR_CONFIG;
	return err_prefix(e, "the document (--document, --columns, --when, and the columns of the outbox)");
}

static bool find(struct source *s, const struct source_spec *spec, const char *const remarks[3],
		 struct err *e)
{
	const char *const params[] = { spec->table,     spec->index, spec->key,  spec->view, spec->columns,
				       spec->condition, remarks[0],  remarks[1], remarks[2] };

	if (!s->by_document)
		return err_set(
			e, ERR_CONFIG,
			"needs outbox.preset = document, whose newest event of a document is its state");
	return source_look(s, sql_query_track_facts, params, array_len(params), e) &&
	       understands_document(s, e);
}

bool source_find(struct source *s, const struct source_spec *spec, const char *const remarks[3],
		 struct err *e)
{
	return source_begin(s, e) && find(s, spec, remarks, e) && source_commit(s, e);
}

// The columns of track_functions.sql.
enum {
	FUNCTION_OID,
	FUNCTION_TABLE,
	FUNCTION_INDEX,
	FUNCTION_KEY,
	FUNCTION_DOCUMENT,
	FUNCTION_COLUMNS,
	FUNCTION_WHEN
};

static bool is_one_index(const struct pg_result *res)
{
	for (int r = 1; r < sync_rows(res); r++) {
		if (strcmp(sync_text(res, r, FUNCTION_INDEX), sync_text(res, 0, FUNCTION_INDEX)) != 0)
			return false;
	}
	return true;
}

static bool find_as_tracked(struct source *s, const struct source_spec *asked, const struct pg_result *res,
			    struct err *e)
{
	static const char *const none[3];
	const struct source_spec tracked = {
		.table = sync_text(res, 0, FUNCTION_TABLE),
		.index = sync_text(res, 0, FUNCTION_INDEX),
		.key = sync_text(res, 0, FUNCTION_KEY),
		.view = sync_text(res, 0, FUNCTION_DOCUMENT),
		.columns = sync_text(res, 0, FUNCTION_COLUMNS),
		.condition = sync_text(res, 0, FUNCTION_WHEN),
	};

	if (!is_one_index(res))
		return err_set(e, ERR_USAGE, "it is tracked into several indexes: name one (--index)");
	if (asked->key || asked->view || asked->columns || asked->condition)
		return err_set(
			e, ERR_USAGE,
			"it is tracked into %s, which says what its documents are: leave --key, --document, --columns and "
			"--when away, or track it otherwise",
			tracked.index);
	return find(s, &tracked, none, e);
}

bool source_find_tracked(struct source *s, const struct source_spec *spec, struct err *e)
{
	static const char *const none[3];
	const char *const params[] = { spec->table, spec->index };
	struct pg_result *res = source_begin(s, e) ? source_query(s, sql_query_track_functions, params, 2, e)
						   : NULL;
	bool ok = res != NULL;

	if (ok && sync_rows(res) > 0)
		ok = find_as_tracked(s, spec, res, e);
	else if (ok && !spec->index)
		ok = err_set(e, ERR_USAGE,
			     "it is not tracked, so say into which index (--index), and what a document is "
			     "(--document, --columns, --when)");
	else if (ok)
		ok = find(s, spec, none, e);
	sync_free(res);
	return ok && source_commit(s, e);
}

// Undefined, misnamed, not permitted: nothing that waiting would cure.
bool source_explain(struct err *e, const char *command, const char *table)
{
	if (strcmp(e->sqlstate, "42P01") == 0 && strstr(e->text, "outbox"))
		err_prefix(e, "run `outboxd init` first");
	if (source_is_busy(e))
		err_prefix(e, "another transaction holds a lock on the table");
	if (*e->sqlstate && sqlstate_action(e->sqlstate) == PG_FIX && e->kind != ERR_USAGE)
		e->kind = ERR_CONFIG;
	else if (*e->sqlstate && sqlstate_action(e->sqlstate) != PG_ROW)
		e->kind = ERR_UNAVAILABLE; // the session is lost, or the server short of something
	return err_prefix(e, "%s %s", command, table);
}

bool source_is_busy(const struct err *e)
{
	static const char *const states[] = { "55P03", "40P01",
					      "40001" }; // lock_timeout, deadlock, serialization

	for (size_t i = 0; i < array_len(states); i++) {
		if (strcmp(e->sqlstate, states[i]) == 0)
			return true;
	}
	return false;
}
