// SPDX-License-Identifier: MIT
// A worker owns one database connection, one HTTP connection and at most one batch: claim, send, settle, commit.
#ifndef OUTBOXD_RUN_WORKER_H
#define OUTBOXD_RUN_WORKER_H

#include <stdbool.h>
#include <stdio.h>

struct relay;
struct worker;

struct worker *worker_new(struct relay *r, int number); // not connected: worker_start
void worker_free(struct worker *w); // NULL is fine; an open transaction is rolled back by the server
void worker_start(struct worker *w);

// Orders; each is legal only while worker_is_idle.
bool worker_is_connected(const struct worker *w);
bool worker_is_idle(const struct worker *w);
void worker_claim(struct worker *w);          // takes what lanes are free
void worker_probe(struct worker *w);          // asks Elasticsearch for a sign of life, then claims
void worker_check_left(struct worker *w);     // --once: is anything left?
void worker_wake_listeners(struct worker *w); // sends the notification that shows whether wake-ups arrive
// Nothing in flight: the relay may stop.
bool worker_is_quiet(const struct worker *w);
bool worker_sweeps_alone(const struct worker *w); // one lane, beside the claims of the others
bool worker_is_settling(
	const struct worker *w); // it has said what became of its rows, and not heard whether that stands
const char *worker_state_name(const struct worker *w);
void worker_print_fsm(FILE *out); // the transitions as a Mermaid diagram

#endif
