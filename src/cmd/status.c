// SPDX-License-Identifier: MIT
// `outboxd status`: one screen.
#include "base/buf.h"
#include "cmd/command.h"
#include "cmd/relay_says.h"
#include "cmd/table.h"
#include "pg/overview.h"
#include "pg/sync.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_SECONDS 300 // who holds up vacuum for longer is worth a word
#define LIST_MAX 20

// The columns of backlog.sql, holders.sql and horizon.sql.
enum { PENDING, WAITING, DEAD, OLDEST, REASONS };
enum { PID, NAME, ADDRESS, LANES, SECONDS, HIDDEN };
enum { KIND, HOLDER, HOLDER_NAME, HOLDER_USER, AGE, TRANSACTIONS };

static const char *cell(const struct pg_result *res, int row, int col, const char *otherwise)
{
	const char *text = sync_text(res, row, col);

	return text ? text : otherwise;
}

static double real(const struct pg_result *res, int row, int col)
{
	return strtod(cell(res, row, col, "0"), NULL);
}

static bool is_zero(const struct pg_result *res, int col)
{
	return strcmp(cell(res, 0, col, "0"), "0") == 0;
}

static void put_reasons(const char *text)
{
	json_t *reasons = json_loads(text, 0, NULL), *reason;
	size_t i;

	json_array_foreach(reasons, i, reason)
	{
		const char *type = json_string_value(json_object_get(reason, "type"));
		json_int_t first = json_integer_value(json_object_get(reason, "first_id"));

		printf("           %8lld  ", (long long)json_integer_value(json_object_get(reason, "count")));
		table_put_text(type && *type ? type : "without a type");
		printf("  (the first: outboxd dead %lld)\n", (long long)first);
	}
	json_decref(reasons);
}

static void put_relay(const struct relay_says *says, const struct config *c)
{
	auto_buf text = { 0 };

	if (says->state == RELAY_NOT_ASKED)
		return;
	buf_init(&text, 64 * 1024);
	relay_says_text(says, &text);
	printf("relay      ");
	table_put_text(buf_str(&text));
	if (says->paused) {
		buf_clear(&text);
		relay_says_resume(says, c, &text);
		printf("\n           Let it go on: %s", buf_str(&text));
	}
	putchar('\n');
}

static void put_backlog(const struct pg_result *res)
{
	printf("pending    %s", cell(res, 0, PENDING, "0"));
	if (!is_zero(res, WAITING))
		printf(", %s of these waiting for a retry", cell(res, 0, WAITING, "0"));
	printf("\noldest     ");
	if (sync_text(res, 0, OLDEST))
		table_put_age(real(res, 0, OLDEST));
	else
		putchar('-');
	putchar('\n');
}

static void put_rate(const struct call *call, const struct pg_result *rate)
{
	if (rate)
		printf("rate       %.1f events a second over the last minute\n", real(rate, 0, 0));
	else if (call->config->retention_keep == 0)
		puts("rate       unknown, keep = 0 deletes delivered rows");
	else
		puts("rate       unknown, the table took too long to read");
}

static void put_holders(const struct pg_result *res)
{
	int rows = sync_rows(res);

	puts(rows ? "lanes      held by" : "lanes      all free: no batch is under way");
	for (int r = 0; r < rows && r < LIST_MAX; r++) {
		bool hidden = *cell(res, r, HIDDEN, "t") == 't';

		printf("           pid %s, ", cell(res, r, PID, "?"));
		table_put_text(cell(res, r, NAME, hidden ? "hidden" : "without a name"));
		printf(" at %s: %s of 16, for ",
		       cell(res, r, ADDRESS, hidden ? "a hidden address" : "this host"),
		       cell(res, r, LANES, "?"));
		if (sync_text(res, r, SECONDS))
			table_put_age(real(res, r, SECONDS));
		else
			printf("a hidden time");
		putchar('\n');
	}
	if (rows > LIST_MAX)
		printf("           and %d more\n", rows - LIST_MAX);
}

static void put_locker(const struct pg_result *res)
{
	if (sync_rows(res) == 0)
		return;
	printf("locked     no row can be marked: ");
	table_put_text(cell(res, 0, LOCKER_HOLDER, "?"));
	printf("\n           Ask its owner, or: %s\n", cell(res, 0, LOCKER_CURE, "?"));
}

static void put_literal(const char *text)
{
	auto_buf literal = { 0 };

	buf_init(&literal, 4096);
	for (; *text; text++) {
		if (*text == '\'')
			buf_addc(&literal, '\'');
		buf_addc(&literal, *text);
	}
	putchar('\'');
	table_put_text(buf_str(&literal));
	putchar('\'');
}

// What to type against each kind.
static void put_cure(const struct pg_result *res)
{
	const char *kind = cell(res, 0, KIND, ""), *name = cell(res, 0, HOLDER_NAME, "?");

	printf("           Rows deleted or changed since then cannot be vacuumed: table and index cannot shrink, and claims get "
	       "slower.\n           Ask its owner, or: ");
	if (strcmp(kind, "prepared") == 0) {
		printf("ROLLBACK PREPARED ");
		put_literal(name);
	} else if (strcmp(kind, "slot") == 0) {
		printf("SELECT pg_drop_replication_slot(");
		put_literal(name);
		putchar(')');
	} else if (strcmp(kind, "standby") == 0) {
		printf("end the long query on that standby, or set hot_standby_feedback = off there");
	} else {
		printf("SELECT pg_terminate_backend(%s)", cell(res, 0, HOLDER, "?"));
	}
	putchar('\n');
}

static void put_horizon(const struct pg_result *res)
{
	bool known = sync_rows(res) > 0 && sync_text(res, 0, AGE);

	if (sync_rows(res) == 0) {
		puts("horizon    free: nobody holds up vacuum for more than a minute");
		return;
	}
	printf("horizon    held by a %s: ",
	       strcmp(cell(res, 0, KIND, ""), "prepared") == 0 ? "prepared transaction"
	       : strcmp(cell(res, 0, KIND, ""), "slot") == 0   ? "replication slot"
							       : cell(res, 0, KIND, ""));
	if (sync_text(res, 0, HOLDER))
		printf("pid %s, ", sync_text(res, 0, HOLDER));
	table_put_text(cell(res, 0, HOLDER_NAME, "?"));
	printf(", user ");
	table_put_text(cell(res, 0, HOLDER_USER, "?"));
	printf(", for ");
	if (known)
		table_put_age(real(res, 0, AGE));
	else
		printf("a hidden time");
	printf(" and %s transactions\n", cell(res, 0, TRANSACTIONS, "?"));
	if (!known || real(res, 0, AGE) > LONG_SECONDS)
		put_cure(res);
}

static json_t *holders_json(const struct pg_result *res)
{
	json_t *list = json_array();

	for (int r = 0; r < sync_rows(res); r++) {
		json_t *object = json_object();

		for (int c = PID; c < HIDDEN; c++)
			json_object_set_new(object, sync_column(res, c), table_json_cell(res, r, c));
		json_object_set_new(object, "hidden", json_boolean(*cell(res, r, HIDDEN, "t") == 't'));
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *horizon_json(const struct pg_result *res)
{
	json_t *object = json_object();

	if (sync_rows(res) == 0) {
		json_decref(object);
		return json_null();
	}
	for (int c = KIND; c <= TRANSACTIONS; c++)
		json_object_set_new(object, c == HOLDER_USER ? "user" : sync_column(res, c),
				    table_json_cell(res, 0, c));
	return object;
}

static void print_json(const struct overview *o, const struct relay_says *says)
{
	static const char *const names[] = { "pending", "waiting", "dead", "oldest_pending_seconds" };
	json_t *object = json_object();

	json_object_set_new(object, "relay", relay_says_json(says));
	for (int c = PENDING; c <= OLDEST; c++)
		json_object_set_new(object, names[c], table_json_cell(o->backlog, 0, c));
	json_object_set_new(object, "dead_reasons", json_loads(cell(o->backlog, 0, REASONS, "[]"), 0, NULL));
	json_object_set_new(object, "rate_per_second",
			    o->rate ? table_json_cell(o->rate, 0, 0) : json_null());
	json_object_set_new(object, "lanes", holders_json(o->holders));
	json_object_set_new(object, "locked_by",
			    sync_rows(o->locker) ? table_json_cell(o->locker, 0, LOCKER_HOLDER)
						 : json_null());
	json_object_set_new(object, "horizon", horizon_json(o->horizon));
	json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(object);
}

static void print_screen(const struct call *call, const struct overview *o, const struct relay_says *says)
{
	put_relay(says, call->config);
	put_backlog(o->backlog);
	put_rate(call, o->rate);
	printf("dead       %s\n", cell(o->backlog, 0, DEAD, "0"));
	put_reasons(cell(o->backlog, 0, REASONS, "[]"));
	put_holders(o->holders);
	put_locker(o->locker);
	put_horizon(o->horizon);
}

int cmd_status(const struct call *call, struct err *e)
{
	struct desk *d = desk_open(call->config, e);
	struct overview o = { 0 };
	struct relay_says says;

	if (d && overview_read(d, call->config->retention_keep > 0, &o, e)) {
		relay_says_ask(call->config, &says);
		if (call->json)
			print_json(&o, &says);
		else
			print_screen(call, &o, &says);
		relay_says_done(&says);
	}
	overview_done(&o);
	desk_close(d);
	return err_exit_code(e->kind);
}
