// SPDX-License-Identifier: MIT
// What `outboxd check` found, line by line.
#ifndef OUTBOXD_CMD_FINDINGS_H
#define OUTBOXD_CMD_FINDINGS_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>

struct json_t;

enum finding_state {
	FINDING_OK,
	FINDING_WARNING, // it works, but not as well or as safely as it could
	FINDING_PROBLEM, // events are not delivered, or not all of them
	FINDING_AWAY,    // a problem too: a server does not answer
};

struct findings {
	struct json_t *list;
	bool problem, away;
};

void findings_init(struct findings *f);
void findings_done(struct findings *f);
// area is one word; advice says what to do, "" = nothing; the format says what was found.
void findings_add(struct findings *f, const char *area, enum finding_state state, const char *advice,
		  const char *fmt, ...) printf_like(5, 6);
void findings_print(const struct findings *f, bool json); // on standard output
int findings_exit_code(const struct findings *f);         // 0, 75 (only servers that do not answer), 78

#endif
