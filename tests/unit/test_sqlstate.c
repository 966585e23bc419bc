// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "pg/sqlstate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
	const char *sqlstate;
	enum pg_action action;
} cases[] = {
	{ "", PG_RECONNECT },      // libpq: the connection is bad
	{ "08006", PG_RECONNECT }, // connection failure
	{ "08P01", PG_RECONNECT }, // protocol violation, which is how PgBouncer says no
	{ "57P01", PG_RECONNECT }, // terminated by an administrator
	{ "57P02", PG_RECONNECT }, // another session crashed
	{ "57P03", PG_RECONNECT }, // starting up
	{ "57P05", PG_RECONNECT }, // idle_session_timeout
	{ "25P03", PG_RECONNECT }, // idle_in_transaction_session_timeout
	{ "25006", PG_RECONNECT }, // a standby
	{ "25P02", PG_RECONNECT }, // in a failed transaction, which we do not know of
	{ "25001", PG_RECONNECT },
	{ "26000", PG_RECONNECT },
	{ "42P05", PG_RECONNECT }, // its class says: fix it
	{ "40001", PG_REPEAT },    // serialization
	{ "40P01", PG_REPEAT },    // deadlock
	{ "55P03", PG_REPEAT },    // lock_timeout
	{ "57014", PG_REPEAT },    // statement_timeout; its class is 57, not 57P
	{ "53100", PG_PAUSE },     // disk full
	{ "53200", PG_PAUSE },     // out of memory
	{ "53300", PG_PAUSE },     // too many connections
	{ "58030", PG_PAUSE },     // I/O error
	{ "42P01", PG_FIX },       // no such table
	{ "42703", PG_FIX },       // no such column
	{ "42501", PG_FIX },       // no privilege
	{ "42601", PG_FIX },       // syntax
	{ "3D000", PG_FIX },
	{ "3F000", PG_FIX },
	{ "28P01", PG_FIX }, // wrong password
	{ "28000", PG_FIX },
	{ "0LP01", PG_FIX },
	// Everything else may be one row's doing: its data, or a function of the mapping.
	{ "22012", PG_ROW }, // division by zero
	{ "22P02", PG_ROW }, // 'x'::int
	{ "22003", PG_ROW }, // a version that is no bigint
	{ "21000", PG_ROW }, // a sub-select that returns more than one row
	{ "P0001", PG_ROW }, // RAISE
	{ "P0003", PG_ROW }, // SELECT INTO STRICT
	{ "54000", PG_ROW }, // a jsonb that is too large
	{ "0A000", PG_ROW },
	{ "XX000", PG_ROW },
	{ "23505", PG_ROW },
	{ "57000", PG_ROW }, // 57 alone is not in the table
	{ "55000", PG_ROW },
	{ "0", PG_ROW }, // shorter than any prefix
	{ "5", PG_ROW },
	{ "ZZZZZ", PG_ROW },
};

static void states_have_actions(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		if (sqlstate_action(cases[i].sqlstate) != cases[i].action)
			fail_msg("%s: action %d, not %d", cases[i].sqlstate,
				 (int)sqlstate_action(cases[i].sqlstate), (int)cases[i].action);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_have_actions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
