// SPDX-License-Identifier: MIT
// The database, as the relay will meet it: connection, server, table. Nothing is written.
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/check.h"
#include "pg/desk.h"
#include "pg/schema.h"
#include "pg/sql.h"
#include "pg/sslmode.h"

#include <stdlib.h>
#include <string.h>

#define SERVER "postgres"
#define TABLE "table"
#define ANSWER_MS_MAX 30000 // above statement_timeout of check_begin.sql
#define POOLER_MS_MAX 5000

static void add_away(struct look *look, const struct err *e)
{
	if (!look->gone)
		findings_add(&look->checkup->findings, SERVER, FINDING_AWAY,
			     "see whether the server runs, and host, port and sslmode in postgres.dsn", "%s",
			     e->text);
	look->gone = true;
}

// Waiting does not cure what a server that answers says.
static void add_unconnected(struct look *look, const struct err *e)
{
	if (e->kind == ERR_CONFIG) { // it is too old
		look->gone = true;
		findings_add(&look->checkup->findings, SERVER, FINDING_PROBLEM,
			     "upgrade it, or see host and port in postgres.dsn", "%s", e->text);
		return;
	}
	if (sslmode_is_at_fault(e->text)) {
		look->gone = true;
		findings_add(&look->checkup->findings, SERVER, FINDING_PROBLEM,
			     "see sslmode, sslrootcert and host in postgres.dsn", "%s", e->text);
		return;
	}
	if (!sync_answers(look->checkup->config->postgres_dsn)) {
		add_away(look, e);
		return;
	}
	look->gone = true;
	findings_add(&look->checkup->findings, SERVER, FINDING_PROBLEM,
		     "see user, password and database in postgres.dsn, and pg_hba.conf of the server", "%s",
		     e->text);
}

// What fails inside the transaction must not end it.
static bool guard(struct look *look, const char *sql, struct err *e)
{
	if (look->gone)
		return err_set(e, ERR_UNAVAILABLE, "PostgreSQL is away");
	if (sync_exec(look->db, sql, e))
		return true;
	if (e->kind == ERR_UNAVAILABLE)
		add_away(look, e);
	return false;
}

struct pg_result *look_try(struct look *look, const char *sql, const char *const *params, int count,
			   struct err *e)
{
	auto_free char *text = mapping_expand(&look->mapping, sql, NULL);
	struct pg_result *res;
	struct err ignored;

	if (!guard(look, "SAVEPOINT outboxd_look", e))
		return NULL;
	res = sync_query(look->db, text, params, count, e);
	if (!res && e->kind == ERR_UNAVAILABLE)
		add_away(look, e);
	if (!look->gone)
		(void)guard(look, "ROLLBACK TO outboxd_look", &ignored);
	return res;
}

struct pg_result *look_query(struct look *look, const char *area, const char *what, const char *sql,
			     const char *const *params, int count)
{
	struct err e = { 0 };
	struct pg_result *res = look_try(look, sql, params, count, &e);

	if (!res && !look->gone)
		findings_add(
			&look->checkup->findings, area, FINDING_PROBLEM,
			"see the error; `outboxd init` makes what is missing, GRANT allows what is denied",
			"%s cannot be looked at (%s %s)", what, e.sqlstate, e.text);
	return res;
}

bool look_field(struct look *look, const struct mapping_field *f, struct err *e)
{
	struct err ignored;
	bool ok;

	if (!guard(look, "SAVEPOINT outboxd_look", e))
		return false;
	ok = schema_check_field(look->db, &look->mapping, f, e);
	return guard(look, "ROLLBACK TO outboxd_look", &ignored) && ok;
}

// Which server session speaks for us just now; 0 = it did not say.
static int64_t backend(struct sync *db)
{
	struct err ignored;
	struct pg_result *res = sync_query(db, sql_query_backend, NULL, 0, &ignored);
	int64_t pid = res ? sync_int(res, 0, 0) : 0;

	sync_free(res);
	return pid;
}

// A pooler in transaction mode gives the session of one client to another as soon as no transaction is open.
static bool shares_sessions(struct look *look)
{
	int64_t before = backend(look->db), other_one = 0, after;
	struct err ignored;
	struct sync *other = sync_open(look->checkup->config->postgres_dsn, &ignored);

	if (other) {
		sync_limit(other, POOLER_MS_MAX);
		if (sync_exec(other, "BEGIN READ ONLY", &ignored))
			other_one = backend(other);
	}
	after = backend(look->db);
	sync_close(other);
	return before != after || before == other_one;
}

static void check_pooler(struct look *look, const struct sync_session *session)
{
	struct findings *f = &look->checkup->findings;

	if (backend(look->db) == session->pid) {
		findings_add(f, SERVER, FINDING_OK, "", "the connection is direct");
		return;
	}
	if (!shares_sessions(look)) {
		findings_add(f, SERVER, FINDING_OK, "",
			     "a pooler is between, and leaves each client its session");
		return;
	}
	findings_add(
		f, SERVER, look->checkup->config->relay_notify ? FINDING_WARNING : FINDING_OK,
		"name the server itself in postgres.dsn, or set relay.notify = false",
		"a pooler in transaction mode is between: wake-ups do not pass it, events wait for the next look "
		"(relay.poll_interval)");
}

static void check_session(struct look *look, const struct sync_session *session)
{
	bool safe = session->local || (session->tls && session->verified);

	findings_add(
		&look->checkup->findings, SERVER, safe ? FINDING_OK : FINDING_WARNING,
		"write sslmode=verify-full and sslrootcert=FILE (the certificate of its CA) into postgres.dsn",
		!session->tls       ? session->local ? "the connection stays on this host"
						     : "the connection to another host is not encrypted"
		: session->verified ? "the connection is encrypted and the server verified"
		: session->local    ? "the connection is encrypted"
				    : "the connection is encrypted, but nobody verifies who the server is");
}

static void check_server(struct look *look)
{
	struct findings *f = &look->checkup->findings;
	int64_t asked_ms = clock_wall_us() / 1000;
	struct err e = { 0 };
	struct pg_result *res = sync_query(look->db, sql_query_check_server, NULL, 0, &e);
	struct sync_session session;

	if (!res) {
		add_away(look, &e);
		return;
	}
	sync_session(look->db, &session);
	findings_add(f, SERVER, FINDING_OK, "", "PostgreSQL %s, as %s", sync_text(res, 0, 0),
		     sync_text(res, 0, 4));
	if (sync_true(res, 0, 1))
		findings_add(f, SERVER, FINDING_PROBLEM,
			     "name all hosts in postgres.dsn, with target_session_attrs=read-write",
			     "this server is a standby");
	else
		findings_add(f, SERVER, sync_true(res, 0, 2) ? FINDING_PROBLEM : FINDING_OK,
			     "see default_transaction_read_only of server, database and role",
			     sync_true(res, 0, 2) ? "transactions are read-only here" : "it is the primary");
	check_session(look, &session);
	check_clock(look->checkup, SERVER,
		    "set both clocks by NTP: `timedatectl`; ages and retention are wrong until then",
		    asked_ms, sync_int(res, 0, 3));
	sync_free(res);
	check_pooler(look, &session);
}

static void check_catalogue(struct look *look)
{
	const struct config *c = look->checkup->config;
	const char *const params[] = { c->retention_keep == 0 ? "t" : "f", c->relay_notify ? "t" : "f",
				       look->mapping.version_is_id ? "t" : "f" };
	struct pg_result *res = look_query(look, TABLE, "the catalogue", sql_query_findings, params,
					   array_len(params));

	for (int r = 0; res && r < sync_rows(res); r++) {
		bool fine = sync_true(res, r, 1), warning = strcmp(sync_text(res, r, 2), "warning") == 0;
		const char *advice = sync_text(res, r, 4);

		findings_add(&look->checkup->findings, TABLE,
			     fine      ? FINDING_OK
			     : warning ? FINDING_WARNING
				       : FINDING_PROBLEM,
			     advice ? advice : "", "%s", sync_text(res, r, fine ? 0 : 3));
	}
	sync_free(res);
}

static void check_versions(struct look *look)
{
	struct pg_result *res = look_query(look, TABLE, "the versions", sql_query_check_future, NULL, 0);
	struct err ignored;
	int64_t count;

	if (!res)
		return;
	count = sync_int(res, 0, 0);
	sync_free(res);
	findings_add(&look->checkup->findings, TABLE, count ? FINDING_PROBLEM : FINDING_OK,
		     "its ids went back in a failover or restore; run `outboxd check --raise-sequence`",
		     count ? "%lld events wait: Elasticsearch holds versions that this table never drew"
			   : "%lld events wait for versions that this table never drew",
		     (long long)count);
	res = look->mapping.version_is_id ? look_try(look, sql_query_check_drawn, NULL, 0, &ignored) : NULL;
	look->checkup->drawn = res && sync_rows(res) > 0 ? sync_int(res, 0, 0) : 0;
	sync_free(res);
}

// False: it cannot be read, and each look at it would wait.
static bool check_lock(struct look *look)
{
	struct pg_result *res = look_query(look, TABLE, "its locks", sql_query_locker, NULL, 0);
	bool locked = res && sync_rows(res) > 0,
	     readable = res && !(locked && sync_true(res, 0, LOCKER_UNREADABLE));

	if (locked)
		findings_add(&look->checkup->findings, TABLE, FINDING_PROBLEM, sync_text(res, 0, LOCKER_CURE),
			     "%s: %s", readable ? "no row can be marked" : "it cannot be read",
			     sync_text(res, 0, LOCKER_HOLDER));
	sync_free(res);
	return readable;
}

static void check_table(struct look *look)
{
	struct findings *f = &look->checkup->findings;
	struct pg_result *res = look_query(look, TABLE, look->mapping.table, sql_query_table_shape, NULL, 0);
	bool exists = res && sync_rows(res) > 0;

	if (exists && strcmp(sync_text(res, 0, 0), "partitioned") == 0)
		mapping_partition(&look->mapping);
	if (res && !exists)
		findings_add(f, TABLE, FINDING_PROBLEM,
			     "run `outboxd init`, or correct outbox.table or the search_path of the role",
			     "there is no table %s", look->mapping.table);
	sync_free(res);
	if (!exists)
		return;
	findings_add(f, TABLE, FINDING_OK, "", "%s exists", look->mapping.table);
	check_catalogue(look);
	if (!check_lock(look))
		return;
	check_versions(look);
	check_rows(look);
}

void check_postgres(struct checkup *c)
{
	struct look look = { .checkup = c };
	struct err e = { 0 };

	if (!mapping_init(&look.mapping, c->config, &e)) {
		findings_add(&c->findings, "configuration", FINDING_PROBLEM, "correct outbox.table", "%s",
			     e.text);
		return;
	}
	look.db = sync_open(c->config->postgres_dsn, &e);
	if (!look.db)
		add_unconnected(&look, &e);
	if (look.db) {
		sync_limit(look.db, ANSWER_MS_MAX);
		check_server(&look);
	}
	if (guard(&look, sql_query_check_begin, &e))
		check_table(&look);
	sync_close(look.db);
	mapping_done(&look.mapping);
}
