// SPDX-License-Identifier: MIT
// Has delete_by_query events carried out, one at a time, each by a process of its own (`outboxd sweep ID`): a search may take long,
// and others shall not wait. Nothing is kept here that the table does not know: a row whose process died, or was never begun, comes
// due again, and a claim meets it again.
#ifndef OUTBOXD_RUN_SWEEPER_H
#define OUTBOXD_RUN_SWEEPER_H

#include <stdbool.h>
#include <stdint.h>

struct relay;
struct sweeper;

// Borrows both. `command` = the arguments of that process without the event's id, ends with NULL.
struct sweeper *sweeper_new(struct relay *r, char *const *command);
void sweeper_free(struct sweeper *s); // as all below, NULL is fine
// A claim met the event, and has ended.
void sweeper_take(struct sweeper *s, int64_t id);
bool sweeper_is_busy(const struct sweeper *s);
// ... with more than a look at what is in the way.
bool sweeper_works(const struct sweeper *s);
// Whoever is at work puts its event back soon.
void sweeper_stop(struct sweeper *s);

#endif
