// SPDX-License-Identifier: MIT
// What the server says of an error, as far as it may be said: it goes to logs, and must not quote a document.
#ifndef OUTBOXD_PG_DISCREET_H
#define OUTBOXD_PG_DISCREET_H

#include "base/err.h"

struct pg_result; // libpq's PGresult

// Of a result that is an error: its words, hint and SQLSTATE.
void discreet_error(const struct pg_result *result, struct err *e);

#endif
