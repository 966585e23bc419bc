// SPDX-License-Identifier: MIT
// The socket of the admin interface.
#ifndef OUTBOXD_RUN_LISTEN_H
#define OUTBOXD_RUN_LISTEN_H

#include "base/config.h"
#include "base/err.h"

// Opens [admin] listen; the descriptor is the caller's. -1: *e says why; when it says nothing, the default address was taken
// by somebody else, which was logged and is no error.
int listen_open(const struct config *c, int backlog, struct err *e);

#endif
