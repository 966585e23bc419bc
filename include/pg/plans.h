// SPDX-License-Identifier: MIT
// Which statements a session knows by name. Parsing and planning the statements of a claim of one event take several times as long
// as running them, and for that the server keeps what it has a name for. Only in a session that is ours alone: behind
// a transaction pooler the next transaction may run in a session that knows no such name, or knows it of somebody else.
#ifndef OUTBOXD_PG_PLANS_H
#define OUTBOXD_PG_PLANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLANS_MAX 32
#define PLANS_NAME_MAX 40
// The server makes a plan anew when the table or its statistics change, not when the rows do. So none gets older.
#define PLANS_AGE_MS 30000

struct plans {
	bool ours;  // nobody stands between us and the session
	bool never; // it looked so, and was not
	bool stale; // what the session knows is not to be used any more
	uint64_t salt;
	int64_t since_ms; // when the first name was given
	int count;
	const char *sql[PLANS_MAX]; // borrowed, told apart by address
};

// A new session: it knows nothing. The salt is in all its names, so that a name of somebody else is never taken for ours.
void plans_begin(struct plans *p, uint64_t salt);
// told = the number of its process that came when the session began, asked = what the session itself says. Most poolers make one
// up; where one hands on the server's own, the first name that is not known ends it (plans_failed).
void plans_meet(struct plans *p, int told, int64_t asked);
bool plans_are_kept(const struct plans *p);
// They are to be dropped before the next name is used.
bool plans_are_stale(const struct plans *p, int64_t now_ms);
// The session is about to be told to drop them.
void plans_forget(struct plans *p);
// Something failed with this SQLSTATE: whatever it was, nothing of before is used again. Where names are not known, or other
// statements than ours, the session is not ours, either: never again.
void plans_failed(struct plans *p, const char *sqlstate);
// The name of a statement, always the same in a session. False = it is new: the session does not know it yet.
bool plans_name(struct plans *p, const char *sql, int64_t now_ms, char ret_name[static PLANS_NAME_MAX]);

#endif
