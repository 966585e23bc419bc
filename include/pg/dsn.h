// SPDX-License-Identifier: MIT
// What is wrong with a connection string, before libpq says it: its own words quote what it did not understand, which
// may be a piece of the password.
#ifndef OUTBOXD_PG_DSN_H
#define OUTBOXD_PG_DSN_H

#include "base/err.h"

#include <stdbool.h>

bool dsn_check(const char *dsn, struct err *e) must_check;

#endif
