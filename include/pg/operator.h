// SPDX-License-Identifier: MIT
// What `outboxd check --raise-sequence` does to the outbox table, blocking.
#ifndef OUTBOXD_PG_OPERATOR_H
#define OUTBOXD_PG_OPERATOR_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>

struct pg_result;

// Results are freed with sync_free.

// Mends ids that went back. One row: raised_to (0 = nothing was wrong), renumbered.
struct pg_result *operator_raise_sequence(const struct config *config, struct err *e) must_check;

#endif
