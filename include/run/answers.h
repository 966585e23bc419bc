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
	const char *accept;                                            // header, "" = none
	const char *(*argument)(struct exchange *x, const char *name); // of the query, NULL = not given

	int status;
	const char *type;
	struct buf body;
	bool answered;

	struct question *question;         // that the keeper has not answered yet
	void (*ready)(struct exchange *x); // admin.c: called when it is answered later
	// POST /sync:
	struct tally then;
	int64_t highest, began_ms, until_ms;
	ev_timer look;
};

struct path {
	const char *method, *name;
	bool open; // needs no token
	void (*answer)(struct exchange *x);
};
// NULL = there is none; *ret_known = the path exists with another method.
const struct path *answers_find(const char *method, const char *name, bool *ret_known);
// The client has gone, or we go: nobody may call back.
void answers_cancel(struct exchange *x);
void answers_say(struct exchange *x, int status, const char *text); // an answer of one line

#endif
