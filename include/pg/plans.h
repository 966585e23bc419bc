// SPDX-License-Identifier: MIT
// Which statements a session knows by name. Parsing and planning the statements of a claim of one event take several times as long
// as running them, and for that the server keeps what it has a name for. Only in a session that is ours alone: behind
// a transaction pooler the next transaction may run in a session that knows no such name, or knows it of somebody else.
#ifndef OUTBOXD_PG_PLANS_H
#define OUTBOXD_PG_PLANS_H

#include <stdbool.h>
#include <stddef.h>

#define PLANS_MAX 32
#define PLANS_NAME_MAX 24

struct plans {
	bool ours;  // nobody stands between us and the session
	bool never; // it looked so, and was not
	bool stale; // what the session knows is to be dropped first
	int count;
	const char *sql[PLANS_MAX]; // borrowed, told apart by address
};

// A new session: it knows nothing.
void plans_begin(struct plans *p);
// told = the number of its process that came when the session began, asked = what the session itself says. Poolers make one up.
void plans_meet(struct plans *p, int told, long long asked);
bool plans_are_kept(const struct plans *p);
// The session is about to be told to forget all names.
void plans_forget(struct plans *p);
// Something failed with this SQLSTATE: whatever it was, nothing is kept of before. Unknown names, or known ones that are not ours,
// mean that the session is not, either: never again.
void plans_failed(struct plans *p, const char *sqlstate);
// The name of a statement, always the same in a session. False = it is new: the session does not know it yet.
bool plans_name(struct plans *p, const char *sql, char ret_name[static PLANS_NAME_MAX]);

#endif
