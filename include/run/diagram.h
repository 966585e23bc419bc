// SPDX-License-Identifier: MIT
// A machine's table of transitions as a Mermaid diagram.
#ifndef OUTBOXD_RUN_DIAGRAM_H
#define OUTBOXD_RUN_DIAGRAM_H

#include <stddef.h>
#include <stdio.h>

struct arrow {
	const char *from, *to, *on;
};

// Arrows between the same two states become one, with all their events.
void diagram_print(FILE *out, const struct arrow *arrows, size_t count);

#endif
