// SPDX-License-Identifier: MIT
#include "pg/sync.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/row.h"
#include "pg/hosts.h"
#include "pg/outbox.h"
#include "pg/sslmode.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct sync {
	PGconn *pg; // NULL = given up
	int64_t limit_ms;
};

static void ignore_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

static void one_line(char *text)
{
	for (char *p = text; *p; p++) {
		if (*p == '\n' || *p == '\t')
			*p = p[1] ? ' ' : '\0';
	}
}

struct sync *sync_open(const char *dsn, struct err *e)
{
	static const char *const keys[] = { "fallback_application_name", "client_encoding", "connect_timeout",
					    "dbname", NULL };
	const char *const values[] = { "outboxd", "UTF8", "10", dsn, NULL };
	struct sync *s = mem_calloc(1, sizeof(*s));

	s->pg = PQconnectdbParams(keys, values, 1);
	if (PQstatus(s->pg) == CONNECTION_OK && PQserverVersion(s->pg) >= POSTGRES_OLDEST) {
		PQsetNoticeReceiver(s->pg, ignore_notice, NULL);
		return s;
	}
	if (PQstatus(s->pg) == CONNECTION_OK)
		err_set(e, ERR_CONFIG, "PostgreSQL %s is too old: outboxd needs %d or later",
			PQparameterStatus(s->pg, "server_version"), POSTGRES_OLDEST / 10000);
	else
		err_set(e, ERR_UNAVAILABLE, "cannot connect to PostgreSQL: %s%s", PQerrorMessage(s->pg),
			sslmode_hint(PQerrorMessage(s->pg)));
	one_line(e->text);
	sync_close(s);
	return NULL;
}

bool sync_answers(const char *dsn)
{
	static const char *const keys[] = { "connect_timeout", "dbname", NULL };
	const char *const values[] = { "3", dsn, NULL };

	return PQpingParams(keys, values, 1) == PQPING_OK;
}

static bool verifies(PGconn *pg)
{
	PQconninfoOption *options = PQconninfo(pg);
	bool found = false;

	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		found = found ||
			(strcmp(o->keyword, "sslmode") == 0 && o->val && strcmp(o->val, "verify-full") == 0);
	hosts_free_options(options);
	return found;
}

void sync_session(const struct sync *s, struct sync_session *ret)
{
	const char *host = PQhost(s->pg), *address = PQhostaddr(s->pg);

	*ret = (struct sync_session){
		.pid = PQbackendPID(s->pg),
		.tls = PQsslInUse(s->pg),
		.verified = verifies(s->pg),
		.local = (host && host[0] == '/') || (address && *address && sslmode_is_local(address)),
	};
}

void sync_close(struct sync *s)
{
	if (!s)
		return;
	PQfinish(s->pg);
	free(s);
}

static bool fail(const PGresult *res, const PGconn *pg, struct err *e)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

	if (!text)
		text = pg ? PQerrorMessage(pg) : "PostgreSQL did not answer in time";
	err_set(e, state ? ERR_REFUSED : ERR_UNAVAILABLE, "%s%s%s", text, hint ? "; " : "", hint ? hint : "");
	one_line(e->text);
	e->sqlstate[0] = '\0';
	if (state)
		memcpy(e->sqlstate, state, strnlen(state, sizeof(e->sqlstate) - 1) + 1);
	return false;
}

static bool is_fine(const PGresult *res)
{
	return PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK;
}

void sync_limit(struct sync *s, int64_t limit_ms)
{
	s->limit_ms = limit_ms;
}

// False: the answer did not come in time.
static bool await(const struct sync *s, int64_t until_ms)
{
	while (PQisBusy(s->pg)) {
		struct pollfd fd = { .fd = PQsocket(s->pg), .events = POLLIN };
		int64_t left_ms = until_ms - clock_boot_ms();

		if (s->limit_ms > 0 && left_ms <= 0)
			return false;
		(void)poll(&fd, 1, s->limit_ms > 0 ? (int)left_ms : -1);
		if (!PQconsumeInput(s->pg))
			return true; // the result says so
	}
	return true;
}

// The last result of what was sent, or that of the statement that failed; NULL = the connection is gone.
static PGresult *finish(struct sync *s)
{
	int64_t until_ms = clock_boot_ms() + s->limit_ms;
	PGresult *res = NULL, *next;

	for (;;) {
		if (!await(s, until_ms)) {
			PQclear(res);
			PQfinish(s->pg);
			s->pg = NULL;
			return NULL;
		}
		next = PQgetResult(s->pg);
		if (!next)
			return res;
		PQclear(res);
		res = next;
	}
}

bool sync_exec(struct sync *s, const char *sql, struct err *e)
{
	PGresult *res = PQsendQuery(s->pg, sql) ? finish(s) : NULL;
	bool ok = is_fine(res) || fail(res, s->pg, e);

	PQclear(res);
	return ok;
}

struct pg_result *sync_query(struct sync *s, const char *sql, const char *const *params, int count,
			     struct err *e)
{
	PGresult *res = PQsendQueryParams(s->pg, sql, count, NULL, params, NULL, NULL, 0) ? finish(s) : NULL;

	if (is_fine(res))
		return res;
	fail(res, s->pg, e);
	PQclear(res);
	return NULL;
}

bool sync_describe(struct sync *s, const char *sql, unsigned *ret_type, struct err *e)
{
	PGresult *res = PQprepare(s->pg, "", sql, 0, NULL);
	bool ok = is_fine(res) || fail(res, s->pg, e);

	PQclear(res);
	if (!ok)
		return false;
	res = PQdescribePrepared(s->pg, "");
	ok = is_fine(res) || fail(res, s->pg, e);
	if (ok)
		*ret_type = PQftype(res, 0);
	PQclear(res);
	return ok;
}

void sync_free(struct pg_result *res)
{
	PQclear(res);
}

int sync_rows(const struct pg_result *res)
{
	return PQntuples(res);
}

int sync_columns(const struct pg_result *res)
{
	return PQnfields(res);
}

const char *sync_column(const struct pg_result *res, int col)
{
	return PQfname(res, col);
}

// pg_type OIDs: int8, int2, int4, float8.
bool sync_is_number(const struct pg_result *res, int col)
{
	Oid type = PQftype(res, col);

	return type == 20 || type == 21 || type == 23 || type == 701;
}

const char *sync_text(const struct pg_result *res, int row, int col)
{
	return PQgetisnull(res, row, col) ? NULL : PQgetvalue(res, row, col);
}

int64_t sync_int(const struct pg_result *res, int row, int col)
{
	const char *text = sync_text(res, row, col);

	return text ? strtoll(text, NULL, 10) : 0;
}

bool sync_true(const struct pg_result *res, int row, int col)
{
	const char *text = sync_text(res, row, col);

	return text && *text == 't';
}

static struct slice slice(const struct pg_result *res, int row, int col)
{
	const char *text = sync_text(res, row, col);

	return (struct slice){ text, text ? strlen(text) : 0 };
}

void sync_row(const struct pg_result *res, int row, struct row *ret)
{
	*ret = (struct row){
		.id = sync_int(res, row, 0),
		.version = sync_int(res, row, 1),
		.has_version = sync_text(res, row, 1) != NULL,
		.index = slice(res, row, 2),
		.document_id = slice(res, row, 3),
		.operation = slice(res, row, 4),
		.routing = slice(res, row, 5),
		.pipeline = slice(res, row, 6),
		.document = slice(res, row, 7),
	};
}
