// SPDX-License-Identifier: MIT
// The statements are the files sql/queries/track_*.sql, filled in from the row that track_facts.sql finds.
#include "pg/track.h"

#include "base/attr.h"
#include "base/buf.h"
#include "base/mem.h"
#include "pg/mapping.h"
#include "pg/sql.h"
#include "pg/sqlstate.h"
#include "pg/sync.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SQL_MAX (1024 * 1024)
#define BLANKS_MAX 64

struct blank {
	const char *name, *value;
};

struct tracker {
	struct mapping mapping;
	struct sync *db;
	struct pg_result *facts; // of the table
	struct buf statements, notes;
	struct blank blanks[BLANKS_MAX];
	int blank_count;
};

static bool tracker_open(struct tracker *t, const struct config *config, struct err *e)
{
	*t = (struct tracker){ 0 };
	buf_init(&t->statements, SQL_MAX);
	buf_init(&t->notes, SQL_MAX);
	if (!mapping_init(&t->mapping, config, e))
		return false;
	t->db = sync_open(config->postgres_dsn, e);
	return t->db != NULL;
}

static void tracker_close(struct tracker *t)
{
	sync_free(t->facts);
	sync_close(t->db);
	mapping_done(&t->mapping);
	buf_done(&t->statements);
	buf_done(&t->notes);
}

// A later value of the same name comes first.
static void put(struct tracker *t, const char *name, const char *value)
{
	assert(t->blank_count < BLANKS_MAX);
	t->blanks[t->blank_count++] = (struct blank){ name, value ? value : "" };
}

static const char *find(const struct tracker *t, const char *name, size_t len)
{
	for (int i = t->blank_count - 1; i >= 0; i--) {
		if (strlen(t->blanks[i].name) == len && strncmp(t->blanks[i].name, name, len) == 0)
			return t->blanks[i].value;
	}
	return NULL;
}

// The caller knows that it is there.
static const char *blank(const struct tracker *t, const char *name)
{
	const char *value = find(t, name, strlen(name));

	assert(value);
	return value ? value : "";
}

// The caller owns the text.
static char *filled(const struct tracker *t, const char *sql)
{
	auto_free char *text = mapping_expand(&t->mapping, sql, NULL);
	struct buf out;

	buf_init(&out, SQL_MAX);
	for (const char *s = text; *s;) {
		size_t n = *s == '{' ? strcspn(s + 1, "}") : 0;
		const char *value = n > 0 ? find(t, s + 1, n) : NULL;

		if (value) {
			buf_adds(&out, value);
			s += n + 2;
		} else {
			buf_addc(&out, *s++);
		}
	}
	return buf_take(&out);
}

static void add(struct tracker *t, const char *sql)
{
	auto_free char *text = filled(t, sql);
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ';'))
		len--;
	buf_add(&t->statements, text, len);
	buf_adds(&t->statements, ";\n\n");
}

// One row that says its own problem; its other columns are put in by their names. NULL = failed.
static struct pg_result *look(struct tracker *t, const char *sql, const char *const *params, int count,
			      struct err *e)
{
	auto_free char *text = mapping_expand(&t->mapping, sql, NULL);
	struct pg_result *res = sync_query(t->db, text, params, count, e);

	if (res && (sync_rows(res) == 0 || sync_text(res, 0, 0))) {
		err_set(e, ERR_CONFIG, "track: %s",
			sync_rows(res) > 0 ? sync_text(res, 0, 0) : "run `outboxd init` first");
		sync_free(res);
		return NULL;
	}
	for (int c = 1; res && c < sync_columns(res); c++)
		put(t, sync_column(res, c), sync_text(res, 0, c));
	return res;
}

static bool partitioned(const struct tracker *t)
{
	return strcmp(blank(t, "partitioned"), "t") == 0;
}

// Statement triggers see a statement's rows at once, which is cheaper, but not what is written into a partition directly,
// nor what a subscription applies.
static void add_triggers(struct tracker *t, bool by_row, bool always, const char *function, const char *body,
			 const char *on_truncate)
{
	auto_free char *truncate = filled(t, on_truncate);
	int before = t->blank_count;

	put(t, "new_rows", by_row ? "(SELECT NEW.*)" : "(SELECT * FROM new_rows)");
	put(t, "old_rows", by_row ? "(SELECT OLD.*)" : "(SELECT * FROM old_rows)");
	put(t, "truncate", truncate);
	put(t, "calls", function);
	add(t, body);
	add(t, by_row ? sql_query_track_row : sql_query_track_statement);
	if (always)
		add(t, sql_query_track_always);
	t->blank_count = before;
}

static bool add_child(struct tracker *t, const struct track *track, const char *name, int number,
		      struct err *e)
{
	auto_free char *table = mem_strndup(name, strlen(name));
	char *dot = strrchr(table, '.'), digits[16];
	const char *const params[] = { table, dot ? dot + 1 : "", digits, blank(t, "name"),
				       blank(t, "tracked") };
	int before = t->blank_count;
	struct pg_result *res;

	if (dot)
		*dot = '\0';
	snprintf(digits, sizeof(digits), "%d", number);
	res = look(t, sql_query_track_child, params, array_len(params), e);
	if (!res)
		return false;
	if (strcmp(blank(t, "has_key"), "t") != 0)
		buf_addf(&t->notes, "%s has no foreign key on %s: see what docs/TRACKING.md says of that\n",
			 blank(t, "child"), blank(t, "child_column"));
	put(t, "on", blank(t, "child"));
	put(t, "when_truncated", track->truncate_deletes ? "AFTER" : "BEFORE");
	add_triggers(t, partitioned(t) || track->always, track->always, blank(t, "touch_function"),
		     sql_query_track_touch,
		     track->truncate_deletes ? sql_query_track_touch_all : sql_query_track_refuse);
	t->blank_count = before;
	sync_free(res);
	return true;
}

static bool add_children(struct tracker *t, const struct track *track, struct err *e)
{
	auto_free char *list = mem_strndup(track->touches ? track->touches : "",
					   track->touches ? strlen(track->touches) : 0);
	char *rest = NULL;
	int number = 1;

	for (char *name = strtok_r(list, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
		if (!add_child(t, track, name, number++, e))
			return false;
	}
	return true;
}

// What an earlier call made, perhaps with other children. Triggers go with their function.
static bool add_drops(struct tracker *t, const char *table, const char *index, int *ret_count, struct err *e)
{
	const char *const params[] = { table, index };
	auto_free char *sql = mapping_expand(&t->mapping, sql_query_track_functions, NULL);
	struct pg_result *res = sync_query(t->db, sql, params, 2, e);

	if (!res)
		return false;
	*ret_count = sync_rows(res);
	for (int r = 0; r < sync_rows(res); r++)
		buf_addf(&t->statements, "DROP FUNCTION IF EXISTS %s CASCADE;\n\n", sync_text(res, r, 0));
	sync_free(res);
	return true;
}

// Before the triggers are there, where it would fail in the application's hands.
static bool check_sample(struct tracker *t, struct err *e)
{
	auto_free char *sql = filled(t, sql_query_track_sample);
	unsigned type;

	if (sync_describe(t->db, sql, &type, e))
		return true;
	e->kind = ERR_CONFIG;
	return err_prefix(e, "the document (--document, --columns, --when, and the columns of the outbox)");
}

static void note_risks(struct tracker *t, const struct track *track)
{
	const char *open = blank(t, "open_schemas");

	if (*open)
		buf_addf(
			&t->notes,
			"anybody may create functions in schema %s, and the triggers, which have your rights, could be "
			"made to call them: REVOKE CREATE ON SCHEMA ... FROM PUBLIC\n",
			open);
	if (track->always && !track->truncate_deletes)
		buf_adds(&t->notes,
			 "a TRUNCATE that a subscription brings will stop it: see --truncate delete\n");
}

static bool write_statements(struct tracker *t, const struct track *track, struct err *e)
{
	const char *const params[] = { track->table,
				       track->index,
				       track->key,
				       track->view,
				       track->columns,
				       track->condition,
				       track->touches,
				       track->truncate_deletes ? "delete" : "refuse",
				       track->always ? "true" : NULL };
	int dropped;

	t->facts = look(t, sql_query_track_facts, params, array_len(params), e);
	if (!t->facts || !check_sample(t, e) || !add_drops(t, track->table, track->index, &dropped, e))
		return false;
	note_risks(t, track);
	put(t, "on", blank(t, "tracked"));
	put(t, "when_truncated", "BEFORE");
	add_triggers(t, partitioned(t) || track->always, track->always, blank(t, "function"),
		     sql_query_track_root,
		     track->truncate_deletes ? sql_query_track_delete : sql_query_track_refuse);
	return add_children(t, track, e);
}

#define BEGIN_TEXT \
	"BEGIN;\nSET LOCAL lock_timeout = '3s';\n\n" // while it waits for the table, all others wait behind it

static bool run(struct tracker *t, struct err *e)
{
	return sync_exec(t->db, BEGIN_TEXT, e) && sync_exec(t->db, buf_str(&t->statements), e) &&
	       sync_exec(t->db, "COMMIT", e); // closing the connection after a failure rolls back
}

// All or nothing, and printed as it is run.
static bool carry_out(struct tracker *t, bool print, FILE *out, struct err *e)
{
	if (t->statements.full)
		return err_set(e, ERR_USAGE, "track: the expressions are too long");
	if (print)
		fprintf(out, "%s%sCOMMIT;\n", BEGIN_TEXT, buf_str(&t->statements));
	return print || run(t, e);
}

// Undefined, misnamed, not permitted: nothing that waiting would cure.
static bool fail(struct err *e, const char *table)
{
	if (strcmp(e->sqlstate, "42P01") == 0 && strstr(e->text, "outbox"))
		err_prefix(e, "run `outboxd init` first");
	if (sqlstate_action(e->sqlstate) == PG_FIX && e->kind != ERR_USAGE)
		e->kind = ERR_CONFIG;
	return *e->sqlstate ? err_prefix(e, "track %s", table) : false;
}

bool track_install(const struct config *config, const struct track *track, bool print, FILE *out,
		   struct err *e)
{
	struct tracker t;
	bool ok = tracker_open(&t, config, e) && write_statements(&t, track, e) &&
		  carry_out(&t, print, out, e);

	if (!ok)
		(void)fail(e, track->table);
	else if (!print)
		fprintf(out,
			"%schanges of %s are events of index %s from now on\n"
			"rows that were there before are none yet: see docs/TRACKING.md\n",
			buf_str(&t.notes), blank(&t, "tracked"), track->index);
	tracker_close(&t);
	return ok;
}

bool track_remove(const struct config *config, const char *table, const char *index, bool print, FILE *out,
		  struct err *e)
{
	struct tracker t;
	int count = 0;
	bool ok = tracker_open(&t, config, e) && add_drops(&t, table, index, &count, e);

	if (ok && count == 0)
		ok = err_set(e, ERR_CONFIG, "track: %s is not tracked%s%s; `outboxd track` lists what is",
			     table, index ? " into index " : "", index ? index : "");
	ok = ok && carry_out(&t, print, out, e);
	if (!ok)
		(void)fail(e, table);
	else if (!print)
		fprintf(out, "changes of %s are no events%s%s any more\n", table, index ? " of index " : "",
			index ? index : "");
	tracker_close(&t);
	return ok;
}
