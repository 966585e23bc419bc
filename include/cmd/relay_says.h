// SPDX-License-Identifier: MIT
// What the relay that runs on this host says of itself, over its admin interface. It need not run here: nothing is an error.
#ifndef OUTBOXD_CMD_RELAY_SAYS_H
#define OUTBOXD_CMD_RELAY_SAYS_H

#include "base/config.h"

#include <stdbool.h>

struct buf;
struct json_t;

enum relay_state {
	RELAY_NOT_ASKED, // admin.listen is off, or no address
	RELAY_READY,
	RELAY_NOT_READY,
	RELAY_NOBODY, // nothing listens: it is stopped, or runs elsewhere
	RELAY_SILENT, // takes the connection and says nothing
	RELAY_OTHER,  // a relay of another table
	RELAY_STRANGER,
};

struct relay_says {
	enum relay_state state;
	bool paused;
	char url[160];
	struct json_t *reasons; // why it is not ready, or what else it said: an array of texts
};

// Takes two seconds at most. No secret is sent: who listens there may be anybody.
void relay_says_ask(const struct config *c, struct relay_says *ret);
void relay_says_done(struct relay_says *s);
// In one line, without its end.
void relay_says_text(const struct relay_says *s, struct buf *out);
// The command that ends a pause.
void relay_says_resume(const struct relay_says *s, const struct config *c, struct buf *out);
struct json_t *relay_says_json(const struct relay_says *s); // the caller's

#endif
