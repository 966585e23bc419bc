// SPDX-License-Identifier: MIT
// The statements are the files sql/queries/track_*.sql, filled in from the row that track_facts.sql finds.
#include "pg/track.h"

#include "base/attr.h"
#include "base/buf.h"
#include "base/mem.h"
#include "core/row.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <string.h>

#define SQL_MAX (1024 * 1024)

static const char *const truncates[] = {
	[TRUNCATE_REFUSED] = "refuse", [TRUNCATE_DELETES] = "delete", [TRUNCATE_QUERIES] = "query"
};

const char *truncate_name(enum truncate t)
{
	return truncates[t];
}

bool truncate_read(const char *name, enum truncate *ret)
{
	for (size_t i = 0; i < array_len(truncates); i++) {
		if (strcmp(name, truncates[i]) == 0) {
			*ret = (enum truncate)i;
			return true;
		}
	}
	return false;
}

struct tracker {
	struct source *source;
	struct buf statements, notes;
};

static bool tracker_open(struct tracker *t, const struct config *config, struct err *e)
{
	*t = (struct tracker){ .source = source_open(config, e) };
	buf_init(&t->statements, SQL_MAX);
	buf_init(&t->notes, SQL_MAX);
	return t->source != NULL;
}

static void tracker_close(struct tracker *t)
{
	source_close(t->source);
	buf_done(&t->statements);
	buf_done(&t->notes);
}

static void add(struct tracker *t, const char *sql)
{
	auto_free char *text = source_fill(t->source, sql);
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ';'))
		len--;
	buf_add(&t->statements, text, len);
	buf_adds(&t->statements, ";\n\n");
}

// Statement triggers see a statement's rows at once, which is cheaper, but not what is written into a partition directly,
// nor what a subscription applies.
static void add_triggers(struct tracker *t, bool always, const char *function, const char *body,
			 const char *on_truncate)
{
	auto_free char *truncate = source_fill(t->source, on_truncate);
	bool by_row = always || source_is(t->source, "partitioned");
	int before = source_mark(t->source);

	source_put(t->source, "new_rows", by_row ? "(SELECT NEW.*)" : "(SELECT * FROM new_rows)");
	source_put(t->source, "old_rows", by_row ? "(SELECT OLD.*)" : "(SELECT * FROM old_rows)");
	source_put(t->source, "truncate", truncate);
	source_put(t->source, "calls", function);
	add(t, body);
	add(t, by_row ? sql_query_track_row : sql_query_track_statement);
	if (always)
		add(t, sql_query_track_always);
	source_forget(t->source, before);
}

static bool add_child(struct tracker *t, const struct track *track, const char *name, int number,
		      struct err *e)
{
	struct source *s = t->source;
	auto_free char *table = mem_strdup(name);
	char *dot = strrchr(table, '.'), digits[16];
	const char *const params[] = { table, dot ? dot + 1 : "", digits, source_get(s, "name"),
				       source_get(s, "tracked") };
	int before = source_mark(s);

	if (dot)
		*dot = '\0';
	snprintf(digits, sizeof(digits), "%d", number);
	if (!source_look(s, sql_query_track_child, params, array_len(params), e))
		return false;
	if (!source_is(s, "has_key"))
		buf_addf(&t->notes, "%s has no foreign key on %s: see what docs/TRACKING.md says of that\n",
			 source_get(s, "child"), source_get(s, "child_column"));
	source_put(s, "on", source_get(s, "child"));
	source_put(s, "when_truncated", track->truncate != TRUNCATE_REFUSED ? "AFTER" : "BEFORE");
	add_triggers(t, track->always, source_get(s, "touch_function"), sql_query_track_touch,
		     track->truncate != TRUNCATE_REFUSED ? sql_query_track_touch_all
							 : sql_query_track_refuse);
	source_forget(s, before);
	return true;
}

static bool add_children(struct tracker *t, const struct track *track, struct err *e)
{
	auto_free char *list = mem_strdup(track->touches ? track->touches : "");
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
	struct pg_result *res = source_query(t->source, sql_query_track_functions, params, 2, e);

	if (!res)
		return false;
	*ret_count = sync_rows(res);
	for (int r = 0; r < sync_rows(res); r++)
		buf_addf(&t->statements, "DROP FUNCTION IF EXISTS %s CASCADE;\n\n", sync_text(res, r, 0));
	sync_free(res);
	return true;
}

static void note_risks(struct tracker *t, const struct track *track)
{
	const char *open = source_get(t->source, "open_schemas");

	if (*open)
		buf_addf(
			&t->notes,
			"anybody may create functions in schema %s, and the triggers, which have your rights, could be "
			"made to call them: REVOKE CREATE ON SCHEMA ... FROM PUBLIC\n",
			open);
	if (track->always && track->truncate == TRUNCATE_REFUSED)
		buf_adds(&t->notes,
			 "a TRUNCATE that a subscription brings will stop it: see --truncate delete\n");
}

// Its documents go by a query only where the relay will let them, and where no others go with them.
static bool may_query(struct tracker *t, const struct config *config, const struct track *track,
		      struct err *e)
{
	const char *index = track->source.index;
	const char *const params[] = { index, source_get(t->source, "tracked"),
				       truncate_name(track->truncate) };

	if (track->truncate == TRUNCATE_QUERIES &&
	    !row_takes_queries((struct slice){ index, strlen(index) }, config->outbox_delete_by_query))
		return err_set(
			e, ERR_CONFIG,
			"--truncate query: add %s to outbox.delete_by_query, here and where the relay runs",
			index);
	return source_look(t->source, sql_query_track_query_facts, params, array_len(params), e);
}

static bool write_statements(struct tracker *t, const struct config *config, const struct track *track,
			     struct err *e)
{
	static const char *const on_truncate[] = {
		[TRUNCATE_REFUSED] = sql_query_track_refuse,
		[TRUNCATE_DELETES] = sql_query_track_delete,
		[TRUNCATE_QUERIES] = sql_query_track_query,
	};
	const char *const remarks[] = { track->touches, truncate_name(track->truncate),
					track->always ? "true" : NULL };
	struct source *s = t->source;
	int dropped;

	if (!source_find(s, &track->source, remarks, e) || !may_query(t, config, track, e) ||
	    !add_drops(t, track->source.table, track->source.index, &dropped, e))
		return false;
	note_risks(t, track);
	source_put(s, "on", source_get(s, "tracked"));
	source_put(s, "when_truncated", "BEFORE");
	add_triggers(t, track->always, source_get(s, "function"), sql_query_track_root,
		     on_truncate[track->truncate]);
	return add_children(t, track, e);
}

#define BEGIN_TEXT \
	"BEGIN;\nSET LOCAL lock_timeout = '3s';\n\n" // while it waits for the table, all others wait behind it

static bool run(struct tracker *t, struct err *e)
{
	struct sync *db = source_db(t->source);

	return sync_exec(db, BEGIN_TEXT, e) && sync_exec(db, buf_str(&t->statements), e) &&
	       sync_exec(db, "COMMIT", e); // closing the connection after a failure rolls back
}

// All or nothing, and printed as it is run.
static bool carry_out(struct tracker *t, bool print, FILE *out, struct err *e)
{
	if (t->statements.full)
		return err_set(e, ERR_USAGE, "the expressions are too long");
	if (print)
		fprintf(out, "%s%sCOMMIT;\n", BEGIN_TEXT, buf_str(&t->statements));
	return print || run(t, e);
}

bool track_install(const struct config *config, const struct track *track, bool print, FILE *out,
		   struct err *e)
{
	struct tracker t;
	bool ok = tracker_open(&t, config, e) && write_statements(&t, config, track, e) &&
		  carry_out(&t, print, out, e);

	if (!ok)
		(void)source_explain(e, "track", track->source.table);
	else if (!print && out)
		fprintf(out,
			"%schanges of %s are events of index %s from now on\n"
			"rows that were there before are none yet: `outboxd backfill %s` makes them so\n",
			buf_str(&t.notes), source_get(t.source, "tracked"), track->source.index,
			source_get(t.source, "tracked"));
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
		ok = err_set(e, ERR_CONFIG, "it is not tracked%s%s; `outboxd track` lists what is",
			     index ? " into index " : "", index ? index : "");
	ok = ok && carry_out(&t, print, out, e);
	if (!ok)
		(void)source_explain(e, "track", table);
	else if (!print)
		fprintf(out, "changes of %s are no events%s%s any more\n", table, index ? " of index " : "",
			index ? index : "");
	tracker_close(&t);
	return ok;
}
