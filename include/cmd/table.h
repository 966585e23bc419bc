// SPDX-License-Identifier: MIT
// Query results for people (aligned columns) and for programs (a JSON array of objects).
#ifndef OUTBOXD_CMD_TABLE_H
#define OUTBOXD_CMD_TABLE_H

#include <stdbool.h>

struct pg_result;

void table_print(const struct pg_result *res, bool json);
// A line of text that may come from anywhere: what a terminal would obey becomes spaces.
void table_print_line(const char *text);

#endif
