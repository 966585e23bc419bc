// SPDX-License-Identifier: MIT
// When and how delivered rows go: deleted a few at a time, or, in a partitioned table, dropped with their partition. The keeper runs
// the scripts, one at a time.
#ifndef OUTBOXD_RUN_RETENTION_H
#define OUTBOXD_RUN_RETENTION_H

#include "base/err.h"
#include "pg/outbox.h"

#include <stdbool.h>
#include <stdint.h>

struct relay;

enum retention_work { RETENTION_REST, RETENTION_CREATE, RETENTION_DROP, RETENTION_DELETE };

struct retention {
	struct relay *relay;
	int64_t purge_ms, rotate_ms; // when they are due
	struct purge purge;
	int64_t above;   // where the next batch of the purge begins
	int64_t deleted; // in this round
	bool forbidden;  // the role may not delete
	struct rotation rotation;
	enum retention_work runs;
	int64_t below; // what is below is deleted
	bool dropped;  // all that can be, in this round; now rows are deleted
	bool stuck[2]; // said that deleting fails, and that rotating does
	int busy[2];   // calls in a row that did not have a lock, to make partitions and to drop them
};

void retention_init(struct retention *t, struct relay *r);
// When there is something to do. INT64_MAX = never.
int64_t retention_due_ms(struct retention *t);
void retention_waits(struct retention *t); // the keeper does something else first
void retention_run(struct retention *t, struct conn *c);
void retention_read(struct retention *t, const struct pg_result *res, int row);
void retention_ended(struct retention *t, bool ok, const struct err *e);
void retention_interrupted(struct retention *t); // the session is lost

#endif
