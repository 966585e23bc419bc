// SPDX-License-Identifier: MIT
// What an operator asks of the outbox table, blocking.
#ifndef OUTBOXD_PG_OPERATOR_H
#define OUTBOXD_PG_OPERATOR_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>

struct pg_result;

// Results are freed with sync_free. ids is "12,15" or NULL for all.
struct pg_result *operator_status(const struct config *config, struct err *e) must_check;
struct pg_result *operator_dead(const struct config *config, const char *ids, long long limit,
				struct err *e) must_check;
// Dead rows become pending again with their attempts forgotten; those whose document has a newer delivered event are
// settled instead.
struct requeued {
	long long pending, superseded; // rows
};
bool operator_requeue(const struct config *config, const char *ids, struct requeued *ret,
		      struct err *e) must_check;

// Mends ids that went back. One row: raised_to (0 = nothing was wrong), renumbered.
struct pg_result *operator_raise_sequence(const struct config *config, struct err *e) must_check;

#endif
