// SPDX-License-Identifier: MIT
// Keeps a relay from hammering something that is away: closed = use it; open = wait, then one probe at a time until
// one succeeds. One for Elasticsearch, one for each index that is at fault.
#ifndef OUTBOXD_CORE_CIRCUIT_H
#define OUTBOXD_CORE_CIRCUIT_H

#include "core/backoff.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct circuit {
	struct backoff backoff;
	bool open;
	bool probing;
	int64_t until_ms;  // no probe before that
	int64_t opened_ms; // since when
	int64_t closed_ms; // since when it is closed; for those who show it
	int64_t failures;  // since then
};

void circuit_init(struct circuit *c, int64_t base_ms, int64_t cap_ms);
bool circuit_is_untested(const struct circuit *c); // open from the start: nobody has asked yet
// A failure; returns true when it is the one that opened the circuit (the one to log). at_least_ms: Retry-After or -1.
bool circuit_failed(struct circuit *c, int64_t now_ms, int64_t at_least_ms, struct rng *rng);
// A success; returns true when it closed an open circuit.
bool circuit_succeeded(struct circuit *c);
bool circuit_may_probe(const struct circuit *c, int64_t now_ms);
// The probe ended without a word on the destination (the database went away, nothing to send).
void circuit_probe_ended(struct circuit *c);

// The indexes that are at fault, a handful at most. One whose documents cannot be read, whatever can be written, has this before its
// name, which no index name has: claim.sql then leaves out its updates only.
#define PAUSED_FOR_READING "?"
#define PAUSED_NAME_MAX 260 // with the NUL
#define PAUSED_INDEXES_MAX 64
struct paused_indexes {
	int count;
	struct paused_index {
		char *name;
		char *why; // the reason as logged
		struct circuit circuit;
		int looks; // claims since its wait was over
	} item[PAUSED_INDEXES_MAX];
};
void paused_done(struct paused_indexes *p);
// No room for one more, unless it is there already.
bool paused_is_full(const struct paused_indexes *p, const char *name);
// Returns true when the index was not paused before (the one to log). Only when it is not full.
bool paused_add(struct paused_indexes *p, const char *name, const char *why, int64_t now_ms, int64_t base_ms,
		int64_t cap_ms, struct rng *rng);
// Fills in the names that get nothing at `now`; an index whose wait is over is left out, which is its probe.
int paused_names(const struct paused_indexes *p, int64_t now_ms, const char *ret_names[PAUSED_INDEXES_MAX]);
// An event of the index was accepted. Returns true when it had been paused, with what is known of that. name is not
// NUL-terminated.
bool paused_remove(struct paused_indexes *p, const char *name, size_t len, struct circuit *ret_was);
// A claim that began at began_ms ended well.
void paused_looked(struct paused_indexes *p, int64_t began_ms);
// The name of an index whose wait was over idle_ms ago, and many claims since met no event of it: they are gone. It is no
// longer paused; the caller owns the name. NULL = none.
char *paused_take_idle(struct paused_indexes *p, int64_t now_ms, int64_t idle_ms);
// True once when the wait of some index is over: its events shall be claimed again, as its probe.
bool paused_due(struct paused_indexes *p, int64_t now_ms);
int64_t paused_next_probe(const struct paused_indexes *p, int64_t now_ms); // INT64_MAX = none waits

#endif
