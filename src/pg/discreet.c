// SPDX-License-Identifier: MIT
#include "pg/discreet.h"

#include "base/attr.h"

#include <libpq-fe.h>
#include <string.h>

// These classes only speak of the server, the session and
// the names in a statement; others (a value that is no number, an external function) may quote data.
static bool speaks_of_the_server(const char *state, const PGresult *res)
{
	static const char *const classes[] = { "00", "08", "0A", "21", "23", "25", "26", "28", "3D",
					       "3F", "40", "53", "54", "55", "57", "58", "XX" };

	// Without a place in the statement it is about a name or a syntax that came out of the data.
	if (strncmp(state, "42", 2) == 0)
		return strcmp(state, "42501") == 0 || PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
	for (size_t i = 0; i < array_len(classes); i++) {
		if (strncmp(state, classes[i], 2) == 0)
			return true;
	}
	return false;
}

// A RAISE has whatever SQLSTATE and words its author likes, but always comes from one function of PL/pgSQL. That of our
// own sieve.sql, a DO block, quotes nothing.
static bool may_quote_data(const PGresult *res, const char *state)
{
	static const char ours[] = "PL/pgSQL function inline_code_block ";
	const char *function = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);
	const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);

	if (function && strcmp(function, "exec_stmt_raise") == 0)
		return !context || strncmp(context, ours, strlen(ours)) != 0;
	return state && !speaks_of_the_server(state, res);
}

void discreet_error(const struct pg_result *result, struct err *e)
{
	const PGresult *res = (const PGresult *)result;
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

	if (may_quote_data(res, state))
		err_set(e, ERR_REFUSED,
			"an expression, a function or a trigger fails on the data of a row (SQLSTATE %s); the words may quote it, "
			"and are in PostgreSQL's log",
			state);
	else
		err_set(e, ERR_REFUSED, "%s%s%s", text ? text : PQresultErrorMessage(res), hint ? "; " : "",
			hint ? hint : "");
	if (state)
		memcpy(e->sqlstate, state, strnlen(state, sizeof(e->sqlstate) - 1));
}
