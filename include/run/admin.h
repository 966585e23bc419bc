// SPDX-License-Identifier: MIT
// The HTTP interface for people and programs that watch the relay. libmicrohttpd's epoll inside our loop, no threads.
#ifndef OUTBOXD_RUN_ADMIN_H
#define OUTBOXD_RUN_ADMIN_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct relay;
struct admin;

// [admin] listen = off gives NULL without an error. An address that is taken is an error only when somebody asked for it:
// the default one may belong to another relay, which is said and goes on without.
bool admin_new(struct relay *r, struct admin **ret_admin, struct err *e) must_check;
void admin_free(struct admin *a); // answers what waits with 503; NULL is fine

void admin_add_version(struct buf *out); // "libmicrohttpd 0.9.75"

#endif
