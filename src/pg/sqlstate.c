// SPDX-License-Identifier: MIT
#include "pg/sqlstate.h"

#include "base/attr.h"

#include <string.h>

static const struct {
	const char *prefix;
	enum pg_action action;
} actions[] = {
	{ "08", PG_RECONNECT },    // connection exception
	{ "57P", PG_RECONNECT },   // shutdown, crash, cannot connect now
	{ "25P03", PG_RECONNECT }, // idle_in_transaction_session_timeout: the session is gone
	{ "25006", PG_RECONNECT }, // read-only: a standby; look for the primary again
	{ "25", PG_RECONNECT },    // invalid transaction state: not where we think we are
	{ "26", PG_RECONNECT },    // unknown prepared statement: another session behind a pooler
	{ "42P05", PG_RECONNECT }, // the same name in somebody else's session
	{ "40", PG_REPEAT },       // serialization failure, deadlock
	{ "55P03", PG_REPEAT },    // lock not available
	{ "57014", PG_REPEAT },    // statement timeout or cancel
	{ "53", PG_PAUSE },        // disk, memory, connections
	{ "58", PG_PAUSE },        // system error
	{ "42", PG_FIX },          // syntax, undefined, privilege
	{ "3D", PG_FIX },          // no such database
	{ "3F", PG_FIX },          // no such schema
	{ "28", PG_FIX },          // authorization
	{ "0L", PG_FIX },
};

enum pg_action sqlstate_action(const char *sqlstate)
{
	enum pg_action action = *sqlstate ? PG_ROW : PG_RECONNECT;
	size_t longest = 0;

	for (size_t i = 0; i < array_len(actions); i++) {
		size_t n = strlen(actions[i].prefix);

		if (n > longest && strncmp(sqlstate, actions[i].prefix, n) == 0) {
			action = actions[i].action;
			longest = n;
		}
	}
	return action;
}
