// SPDX-License-Identifier: MIT
// TLS to PostgreSQL is verified by default: libpq's own default (prefer) would take a connection that is not encrypted,
// and any certificate. On another host that is sslmode=verify-full here, unless the connection string, its service file
// or PGSSLMODE says something else. This host needs none.
#ifndef OUTBOXD_PG_SSLMODE_H
#define OUTBOXD_PG_SSLMODE_H

#include <stdbool.h>

// To be called once, before there is any other thread: it speaks to libpq through the environment, the only place that
// ranks below a service file.
void sslmode_choose(const char *dsn);
// Is this a sentence of libpq about TLS? Waiting does not cure that.
bool sslmode_is_at_fault(const char *libpq_text);
// What to write, for a sentence that would not be there without our default; else "".
const char *sslmode_hint(const char *libpq_text);
// A name or address (or the folder of a socket) that does not leave this host.
bool sslmode_is_local(const char *host);

#endif
