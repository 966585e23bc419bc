// SPDX-License-Identifier: MIT
// The relay's other connection: listens for wake-ups and, in between, deletes delivered rows that are old enough.
// It never sits in a transaction: a listener that does blocks every NOTIFY of the database in the end.
#ifndef OUTBOXD_RUN_KEEPER_H
#define OUTBOXD_RUN_KEEPER_H

#include <stdio.h>

struct relay;
struct keeper;

struct keeper *keeper_new(struct relay *r);
void keeper_free(struct keeper *k); // NULL is fine
void keeper_start(struct keeper *k);
void keeper_print_fsm(FILE *out);

#endif
