// SPDX-License-Identifier: MIT
// Compares the tracked tables with their indexes from time to time ([verify] interval). The work is done by a process of its
// own, `outboxd verify --json`, so that neither its memory nor its waits are the relay's; what it found becomes log lines,
// metrics and a part of /status.
#ifndef OUTBOXD_RUN_VERIFIER_H
#define OUTBOXD_RUN_VERIFIER_H

struct json_t;
struct relay;
struct verifier;

// Borrows both. `command` = the arguments of that process, ends with NULL.
struct verifier *verifier_new(struct relay *r, char *const *command);
void verifier_free(struct verifier *v); // NULL is fine; a comparison that runs is ended
// Of the last comparison, for /status: when it ended, and a report of each table. A new reference; null = there was none yet.
struct json_t *verifier_report(const struct verifier *v);

#endif
