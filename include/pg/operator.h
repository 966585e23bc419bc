// SPDX-License-Identifier: MIT
// What `outboxd check` asks of the outbox table, blocking.
#ifndef OUTBOXD_PG_OPERATOR_H
#define OUTBOXD_PG_OPERATOR_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>

struct pg_result;

// Results are freed with sync_free.

// One row for each thing looked at: what, fine, advice.
struct pg_result *operator_check(const struct config *config, struct err *e) must_check;
// Mends ids that went back. One row: raised_to (0 = nothing was wrong), renumbered.
struct pg_result *operator_raise_sequence(const struct config *config, struct err *e) must_check;

#endif
