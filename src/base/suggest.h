// SPDX-License-Identifier: MIT
// "Did you mean": offer every known name, the nearest one wins if it is near enough.
#ifndef OUTBOXD_BASE_SUGGEST_H
#define OUTBOXD_BASE_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

enum { SUGGEST_MAX = 64 }; // longer words get no suggestion

struct suggest {
	const char *word;
	size_t distance; // of best
	char best[SUGGEST_MAX + 1];
	char text[SUGGEST_MAX + 24];
};

void suggest_init(struct suggest *s, const char *word); // borrows word
void suggest_offer(struct suggest *s, const char *name);
const char *suggest_text(struct suggest *s); // `, did you mean "x"?` or ""; borrowed from s

#endif
