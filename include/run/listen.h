// SPDX-License-Identifier: MIT
// The socket of the admin interface.
#ifndef OUTBOXD_RUN_LISTEN_H
#define OUTBOXD_RUN_LISTEN_H

#include "base/config.h"
#include "base/err.h"

#include <stddef.h>

// Opens [admin] listen; the descriptor is the caller's. -1: *e says why; when it says nothing, the default address was taken
// by somebody else, which was logged and is no error.
int listen_open(const struct config *c, int backlog, struct err *e);
// Where a program on this host finds it: "http://127.0.0.1:9465", also when it listens on every address.
bool listen_url(const struct config *c, char *ret_url, size_t size, struct err *e);

#endif
