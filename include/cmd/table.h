// SPDX-License-Identifier: MIT
// Query results for people (aligned columns) and for programs (a JSON array of objects).
#ifndef OUTBOXD_CMD_TABLE_H
#define OUTBOXD_CMD_TABLE_H

#include <stdbool.h>

struct pg_result;

void table_print(const struct pg_result *res, bool json);
// The cell as a JSON value: a number, a string, or null. The caller owns the json_t.
struct json_t *table_json_cell(const struct pg_result *res, int row, int col);
// Text from the table may hold anything, and a terminal must not obey it: control characters become spaces. No line end.
void table_put_text(const char *text);
void table_put_age(double seconds); // "12.3 s", "5 min 3 s", "3 d 4 h"

#endif
