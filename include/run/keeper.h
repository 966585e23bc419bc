// SPDX-License-Identifier: MIT
// The relay's other connection: listens for wake-ups and, in between, has delivered rows go that are old enough, counts
// what lies in the table, and asks what the admin interface wants to know.
// It never sits in a transaction: a listener that does blocks every NOTIFY of the database in the end.
#ifndef OUTBOXD_RUN_KEEPER_H
#define OUTBOXD_RUN_KEEPER_H

#include "base/err.h"
#include "pg/survey.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct relay;
struct keeper;

// One thing to ask of the table. The keeper owns it from keeper_ask on and frees it after `done`, which is called once, with
// the error or NULL; before that `row` is called with the answer. Only what `done` was told to have gone well is committed.
struct question {
	enum survey_question what;
	int64_t number;
	char ids[32];
	void (*row)(void *arg, const struct pg_result *res);
	void (*done)(void *arg, const struct err *e);
	void *arg;
	int64_t asked_ms, begun_ms;
	bool unsure; // sent, and nobody knows how it ended: it may have been done
	struct question *next;
};

struct keeper *keeper_new(struct relay *r);
void keeper_free(struct keeper *k); // NULL is fine
void keeper_start(struct keeper *k);
// False: there is no connection now, and q is the caller's. Allocated with malloc.
bool keeper_ask(struct keeper *k, struct question *q);
// Whoever asked does not wait any more: no callback comes, and what was not begun is not asked.
void keeper_forget(struct keeper *k, struct question *q);
void keeper_print_fsm(FILE *out);

#endif
