// SPDX-License-Identifier: MIT
#include "run/diagram.h"

#include <stdbool.h>
#include <string.h>

static bool same_way(const struct arrow *a, const struct arrow *b)
{
	return strcmp(a->from, b->from) == 0 && strcmp(a->to, b->to) == 0;
}

static bool is_first(const struct arrow *arrows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (same_way(&arrows[i], &arrows[n]))
			return false;
	}
	return true;
}

void diagram_print(FILE *out, const struct arrow *arrows, size_t count)
{
	fprintf(out, "stateDiagram-v2\n    [*] --> %s\n", arrows[0].from);
	for (size_t i = 0; i < count; i++) {
		const char *before = " : ";

		if (!is_first(arrows, i))
			continue;
		fprintf(out, "    %s --> %s", arrows[i].from, arrows[i].to);
		for (size_t j = i; j < count; j++) {
			if (!same_way(&arrows[i], &arrows[j]))
				continue;
			fprintf(out, "%s%s", before, arrows[j].on);
			before = ", ";
		}
		putc('\n', out);
	}
}
