// SPDX-License-Identifier: MIT
#include "pg/survey.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "pg/mapping.h"
#include "pg/sql.h"

#include <stdio.h>
#include <stdlib.h>

#define STEP_BACKLOG 2
#define STEP_HORIZON 3

enum { PARAM_NONE, PARAM_NUMBER, PARAM_IDS };

static const struct question_row {
	const char *sql;
	int param;
	const char *settings;
} questions[SURVEY_QUESTION_COUNT_] = {
	[SURVEY_HIGHEST] = { sql_query_highest, PARAM_NONE, sql_query_survey_settings },
	[SURVEY_LEFT] = { sql_query_left, PARAM_NUMBER, sql_query_survey_settings },
	[SURVEY_DEAD] = { sql_query_dead_list, PARAM_NUMBER, sql_query_survey_settings },
	[SURVEY_REQUEUE] = { sql_query_requeue, PARAM_IDS, sql_query_requeue_limits },
};

struct survey {
	char *backlog;
	char *question[SURVEY_QUESTION_COUNT_];
};

struct survey *survey_new(const struct config *config, struct err *e)
{
	struct mapping m;
	struct survey *s;

	if (!mapping_init(&m, config, e))
		return NULL;
	s = mem_calloc(1, sizeof(*s));
	s->backlog = mapping_expand(&m, sql_query_backlog, NULL);
	for (size_t i = 0; i < array_len(questions); i++)
		s->question[i] = mapping_expand(&m, questions[i].sql, NULL);
	mapping_done(&m);
	return s;
}

void survey_free(struct survey *s)
{
	if (!s)
		return;
	free(s->backlog);
	for (size_t i = 0; i < array_len(s->question); i++)
		free(s->question[i]);
	free(s);
}

void survey_count(struct survey *s, struct conn *c)
{
	const struct step steps[] = {
		{ .sql = sql_query_begin },
		{ .sql = sql_query_survey_settings },
		[STEP_BACKLOG] = { .sql = s->backlog },
		[STEP_HORIZON] = { .sql = sql_query_horizon },
		{ .sql = sql_query_commit },
	};

	conn_run(c, steps, array_len(steps));
}

static void copy_text(const struct pg_result *res, int row, int col, char *out, size_t cap)
{
	struct slice text = value_get_text(res, row, col);

	utf8_copy(text.p ? text.p : "", out, cap);
}

void backlog_done(struct backlog *b)
{
	free(b->dead_reasons);
	b->dead_reasons = NULL;
}

void survey_read(const struct pg_result *res, int step, int row, struct backlog *ret_backlog,
		 struct horizon_holder *ret_holder)
{
	if (step == STEP_BACKLOG) {
		struct slice reasons = value_get_text(res, row, 4);

		backlog_done(ret_backlog);
		*ret_holder = (struct horizon_holder){ .kind = "" }; // its step may have no row
		*ret_backlog = (struct backlog){
			.known = true,
			.pending = value_get_int(res, row, 0),
			.waiting = value_get_int(res, row, 1),
			.dead = value_get_int(res, row, 2),
			.oldest_seconds = value_get_real(res, row, 3),
			.dead_reasons = reasons.p ? mem_strndup(reasons.p, reasons.n) : mem_strdup("[]"),
		};
	} else if (step == STEP_HORIZON) {
		copy_text(res, row, 0, ret_holder->kind, sizeof(ret_holder->kind));
		ret_holder->pid = value_get_int(res, row, 1);
		copy_text(res, row, 2, ret_holder->name, sizeof(ret_holder->name));
		copy_text(res, row, 3, ret_holder->user, sizeof(ret_holder->user));
		ret_holder->age_seconds = value_is_null(res, row, 4) ? -1 : value_get_real(res, row, 4);
	}
}

void survey_ask(struct survey *s, struct conn *c, enum survey_question q, int64_t number, const char *ids)
{
	auto_buf n = { 0 };
	struct param param = param_text(ids);

	if (questions[q].param == PARAM_NUMBER) {
		buf_init(&n, 16);
		value_int8(&n, number);
		param = param_binary(&n);
	}
	const struct step steps[] = {
		{ .sql = sql_query_begin },
		{ .sql = questions[q].settings },
		[SURVEY_STEP_ANSWER] = { .sql = s->question[q],
					 .params = &param,
					 .param_count = questions[q].param != PARAM_NONE },
		{ .sql = sql_query_commit },
	};

	conn_run(c, steps, array_len(steps));
}
