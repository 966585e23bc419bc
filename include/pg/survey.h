// SPDX-License-Identifier: MIT
// What the metrics and the admin interface ask of the table, each as one script over a connection.
#ifndef OUTBOXD_PG_SURVEY_H
#define OUTBOXD_PG_SURVEY_H

#include "base/config.h"
#include "base/err.h"
#include "pg/conn.h"

#include <stdbool.h>
#include <stdint.h>

struct survey;

struct survey *survey_new(const struct config *config, struct err *e) must_check;
void survey_free(struct survey *s); // NULL is fine

// What lies in the table, and who keeps its dead rows from being vacuumed.
struct backlog {
	bool known;
	int64_t pending, waiting, dead;
	double oldest_seconds; // when it was counted
	char *dead_reasons;    // JSON; owned, see backlog_done
};
struct horizon_holder {
	char kind[16]; // "" = nobody for longer than a minute
	int64_t pid;   // 0 = none
	char name[64], user[64];
	double age_seconds; // -1 = nobody can say
};
void backlog_done(struct backlog *b);
void survey_count(struct survey *s, struct conn *c); // ROLLBACK is the caller's when it fails
// A row of the script above.
void survey_read(const struct pg_result *res, int step, int row, struct backlog *ret_backlog,
		 struct horizon_holder *ret_holder);

// A transaction with one row, at SURVEY_STEP_ANSWER. `number` and `ids` ("{}" = all, or "{12}") are its parameters, where it has
// any. When it fails, it is left open: ROLLBACK is the caller's.
#define SURVEY_STEP_ANSWER 2
enum survey_question {
	SURVEY_HIGHEST, // int8: the highest id
	SURVEY_LEFT,    // bool: is anything undelivered up to id `number`?
	SURVEY_DEAD,    // text: the first `number` dead events as JSON
	SURVEY_REQUEUE, // two int8: rows made pending, rows settled. ids
	SURVEY_QUESTION_COUNT_
};
void survey_ask(struct survey *s, struct conn *c, enum survey_question q, int64_t number, const char *ids);

#endif
