// SPDX-License-Identifier: MIT
// The fates of a batch as statement parameters.
#ifndef OUTBOXD_PG_SETTLE_H
#define OUTBOXD_PG_SETTLE_H

#include "base/buf.h"
#include "base/clock.h"
#include "core/batch.h"

struct retry_pace {
	int64_t base_ms, cap_ms;
	struct rng *rng;
};

void settle_marks(const struct batch *b, struct buf *ret_tids); // delivered and superseded rows
void settle_parks(const struct batch *b, struct buf *ret_tids); // dead and waiting rows
// The same rows with the reason of each, as JSON for park.sql. The caller owns the text.
char *settle_troubles(const struct batch *b, const struct retry_pace *pace);
// Superseded rows whose conflicting version must be looked at: their tids, and JSON for conflicts.sql, which the caller
// owns; NULL = none.
char *settle_conflicts(const struct batch *b, struct buf *ret_tids);
// Documents whose newest state was accepted, as JSON for supersede.sql; NULL = none. The caller owns the text.
char *settle_keys(const struct batch *b);

#endif
