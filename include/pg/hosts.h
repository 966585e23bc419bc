// SPDX-License-Identifier: MIT
// A connection string with several hosts. libpq tries them in order, but its asynchronous form has no time-out for each:
// one that swallows packets keeps the others from being tried. So whoever waited in vain starts the next attempt with
// the next host.
#ifndef OUTBOXD_PG_HOSTS_H
#define OUTBOXD_PG_HOSTS_H

struct _PQconninfoOption; // NOLINT(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): libpq's PQconninfoOption
// Overwrites the values first, of which one may be a password; NULL is fine.
void hosts_free_options(struct _PQconninfoOption *options);
int hosts_count(const char *dsn); // 1 when it names none, or cannot be read (libpq will say why)
// The string with hosts, addresses and ports rotated by `turn`; the caller owns it and clears it: it may hold a password.
char *hosts_rotated(const char *dsn, int turn);

#endif
