// SPDX-License-Identifier: MIT
// What the HTTP interface answers, free of HTTP's mechanics (admin.c): one row per path.
#ifndef OUTBOXD_RUN_ANSWERS_H
#define OUTBOXD_RUN_ANSWERS_H

#include "base/buf.h"
#include "run/keeper.h"
#include "run/state.h"

// One request. admin.c fills in the first part and sends the second when `answered` is set; until then the client waits.
struct exchange {
	struct relay *relay;
	const struct path *path;
	bool trusted;                                                  // came with the token, or needs none
	const char *accept;                                            // header, "" = none
	const char *(*argument)(struct exchange *x, const char *name); // of the query, NULL = not given

	int status;
	const char *type;
	struct buf body;
	bool answered;

	struct question *question;         // that the keeper has not answered yet
	void (*ready)(struct exchange *x); // admin.c: called when it is answered later
	// What the row said: the highest id, or how many were requeued and how many settled; is anything left?
	int64_t number, superseded;
	bool left;
	// POST /sync:
	struct tally then;
	int64_t began_ms, until_ms, look_ms; // look_ms: what the last look cost
	uint32_t settling; // workers, a bit each, whose counts are still to come; `all` is known then
	bool all;
	ev_timer look;
};

#define PATH_OPEN 1u   // needs no token
#define PATH_WAITS 2u  // for an answer of the table
#define PATH_WRITES 4u // into the table
struct path {
	const char *method, *name;
	unsigned flags;
	void (*answer)(struct exchange *x);
	const char *parameters[3]; // of the query; NULL ends them
};
// NULL = there is none; *ret_allowed = the method with which the path exists, or NULL.
const struct path *answers_find(const char *method, const char *name, const char **ret_allowed);
// The client has gone, or we go: nobody may call back.
void answers_cancel(struct exchange *x);
// The table is being asked, which cannot be stopped. A write that ends is said in the log, and looked at, in answering it.
bool answers_is_under_way(const struct exchange *x);
void answers_say(struct exchange *x, int status, const char *text); // an answer of one line
// 503, and where the path writes: whether it was done.
void answers_refuse(struct exchange *x, const char *why);

#endif
