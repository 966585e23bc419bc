// SPDX-License-Identifier: MIT
// What an error of PostgreSQL means for the relay. One table by SQLSTATE, longest prefix wins.
#ifndef OUTBOXD_PG_SQLSTATE_H
#define OUTBOXD_PG_SQLSTATE_H

enum pg_action {
	PG_RECONNECT, // the session is lost or useless: close, back off, connect again
	PG_REPEAT,    // the transaction may simply be tried again
	PG_PAUSE,     // out of resources: try again later
	PG_FIX,       // configuration, privileges or schema: say which, keep trying slowly
	PG_ROW, // anything else: in a claim, a mapping expression that failed on one row's data; find the row
};
enum pg_action sqlstate_action(const char *sqlstate); // "" = the connection is bad

#endif
