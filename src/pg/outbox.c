// SPDX-License-Identifier: MIT
#include "pg/outbox.h"

#include "base/mem.h"
#include "base/parse.h"
#include "pg/mapping.h"
#include "pg/settle.h"
#include "pg/sql.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAM_MAX (64 * 1024 * 1024)

struct outbox {
	struct mapping mapping;
	int64_t retry_base_ms, retry_cap_ms, keep_ms;
	bool updates; // events may be parts of documents: presets have none
	char *begin, *settings, *lanes, *lanes_crowded, *savepoint, *claim, *settle, *settle_delete,
		*conflicts, *park, *hold, *supersede, *sieve;
	char *inspect, *highest, *left, *purge, *rotate;
	char **texts[2]; // these, as they are for a plain table and for a partitioned one
	bool partitioned;
	struct buf lane_numbers, bounds, lows, writers, wanted, rows_wanted, upto, sequence, paused, marks,
		parks, conflict_tids;
};

// The statements with the mapping put in.
static const struct text {
	size_t at;
	const char *sql;
} texts[] = {
	{ offsetof(struct outbox, begin), sql_query_begin },
	{ offsetof(struct outbox, settings), sql_query_settings },
	{ offsetof(struct outbox, lanes), sql_query_lanes },
	{ offsetof(struct outbox, lanes_crowded), sql_query_lanes },
	{ offsetof(struct outbox, savepoint), sql_query_savepoint },
	{ offsetof(struct outbox, claim), sql_query_claim },
	{ offsetof(struct outbox, settle), sql_query_settle },
	{ offsetof(struct outbox, settle_delete), sql_query_settle_delete },
	{ offsetof(struct outbox, conflicts), sql_query_conflicts },
	{ offsetof(struct outbox, park), sql_query_park },
	{ offsetof(struct outbox, hold), sql_query_hold },
	{ offsetof(struct outbox, supersede), sql_query_supersede },
	{ offsetof(struct outbox, sieve), sql_query_sieve },
	{ offsetof(struct outbox, inspect), sql_query_inspect },
	{ offsetof(struct outbox, highest), sql_query_highest },
	{ offsetof(struct outbox, left), sql_query_left },
	{ offsetof(struct outbox, purge), sql_query_purge },
	{ offsetof(struct outbox, rotate), sql_query_rotate_now },
};

// Parameters under construction; reused from script to script.
static const size_t bufs[] = {
	offsetof(struct outbox, lane_numbers), offsetof(struct outbox, bounds),
	offsetof(struct outbox, lows),         offsetof(struct outbox, writers),
	offsetof(struct outbox, wanted),       offsetof(struct outbox, rows_wanted),
	offsetof(struct outbox, upto),         offsetof(struct outbox, sequence),
	offsetof(struct outbox, paused),       offsetof(struct outbox, marks),
	offsetof(struct outbox, parks),        offsetof(struct outbox, conflict_tids),
};

static char **text_at(struct outbox *o, size_t i)
{
	return (char **)(void *)((char *)o + texts[i].at);
}

static struct buf *buf_at(struct outbox *o, size_t i)
{
	return (struct buf *)(void *)((char *)o + bufs[i]);
}

static char **fill_texts(const struct outbox *o, const char *older_sql)
{
	char **filled = mem_calloc(array_len(texts), sizeof(*filled));
	auto_free char *older = mapping_expand(&o->mapping, older_sql, NULL);
	// Planning the look for what is older costs more than all the rest of the statement.
	auto_free char *behind = mapping_expand(
		&o->mapping,
		o->updates ? sql_query_behind : "SELECT NULL::bigint AS id, NULL::bigint AS wait_ms", NULL);
	auto_free char *writers = mapping_expand(&o->mapping, sql_query_writers, NULL);
	auto_free char *held = mapping_expand(&o->mapping, sql_query_held, NULL);
	const struct blank blanks[] = { { "older", older },
					{ "behind", behind },
					{ "writers", writers },
					{ "held", "SELECT '{}'::int[] AS lanes" },
					{ "held", held } };

	for (size_t i = 0; i < array_len(texts); i++)
		filled[i] = mapping_fill(&o->mapping, texts[i].sql, blanks,
					 (int)array_len(blanks) -
						 (texts[i].at != offsetof(struct outbox, lanes_crowded)));
	return filled;
}

static void speak_to(struct outbox *o, bool partitioned)
{
	o->partitioned = partitioned;
	for (size_t i = 0; i < array_len(texts); i++)
		*text_at(o, i) = o->texts[partitioned][i];
}

struct outbox *outbox_new(const struct config *config, struct err *e)
{
	struct outbox *o = mem_calloc(1, sizeof(*o));

	if (!mapping_init(&o->mapping, config, e)) {
		free(o);
		return NULL;
	}
	o->retry_base_ms = config->retry_base;
	o->retry_cap_ms = config->retry_cap;
	o->keep_ms = config->retention_keep;
	o->updates = *config->outbox_operation;
	o->texts[0] = fill_texts(o, sql_query_older);
	mapping_partition(&o->mapping);
	o->texts[1] = fill_texts(o, sql_query_older_partitioned);
	speak_to(o, false);
	for (size_t i = 0; i < array_len(bufs); i++)
		buf_init(buf_at(o, i), PARAM_MAX);
	return o;
}

void outbox_free(struct outbox *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < array_len(texts); i++) {
		free(o->texts[0][i]);
		free(o->texts[1][i]);
	}
	free(o->texts[0]);
	free(o->texts[1]);
	for (size_t i = 0; i < array_len(bufs); i++)
		buf_done(buf_at(o, i));
	mapping_done(&o->mapping);
	free(o);
}

void outbox_inspect(struct outbox *o, struct conn *c, bool with_highest)
{
	const struct step steps[] = {
		[INSPECT_STEP_TABLE] = { .sql = o->inspect },
		[INSPECT_STEP_HIGHEST] = { .sql = o->highest },
	};

	conn_run(c, steps, with_highest ? 2 : 1);
}

// shape NULL = there is no table.
static void read_shape(struct outbox *o, const char *shape, struct inspection *ret)
{
	utf8_copy(shape ? shape : "", ret->shape, sizeof(ret->shape));
	ret->partitioned = strcmp(ret->shape, "partitioned") == 0;
	ret->usable = ret->partitioned || strcmp(ret->shape, "plain") == 0;
	if (ret->usable)
		speak_to(o, ret->partitioned);
}

void outbox_read_inspection(struct outbox *o, int step, const struct pg_result *res, int row,
			    struct inspection *ret)
{
	if (step == INSPECT_STEP_HIGHEST) {
		ret->highest_id = value_get_int(res, row, 0);
		return;
	}
	ret->table_exists = !value_is_null(res, row, 0);
	ret->columns_complete = value_get_int(res, row, 1) == 7;
	ret->lane_index_valid = value_get_bool(res, row, 2);
	ret->notify_trigger = value_get_bool(res, row, 3);
	ret->read_only = value_get_bool(res, row, 4);
	ret->server_version = value_get_int(res, row, 5);
	ret->row_security = value_get_bool(res, row, 6);
	read_shape(o, value_get_text(res, row, 7).p, ret);
	ret->rotates = ret->partitioned && value_get_bool(res, row, 9);
	ret->backend_pid = value_get_int(res, row, 10);
	ret->sequence = o->mapping.version_is_id ? value_get_int(res, row, 8) : 0;
}

// The parameters that claim and sieve share.
struct claim_params {
	char patience[24];
	struct param settings[1];
	struct param lanes[8];
	struct param rows[6];
	struct param sieve[5];
};

static void fill_claim(struct outbox *o, const struct claim *claim, struct claim_params *p)
{
	const struct lane_plan *plan = claim->plan;

	array_begin(&o->lane_numbers, ARRAY_INT4, plan->count);
	array_begin(&o->bounds, ARRAY_INT8, plan->count);
	array_begin(&o->lows, ARRAY_INT8, plan->count);
	for (int i = 0; i < plan->count; i++) {
		array_add_int4(&o->lane_numbers, plan->lane[i]);
		array_add_int8(&o->bounds, plan->bound[i]);
		array_add_int8(&o->lows, plan->low[i]);
	}
	array_begin(&o->writers, ARRAY_INT8, plan->writers);
	for (int i = 0; i < plan->writers; i++)
		array_add_int8(&o->writers, plan->writer[i]);
	array_begin(&o->paused, ARRAY_TEXT, claim->paused_count);
	for (int i = 0; i < claim->paused_count; i++)
		array_add_text(&o->paused, claim->paused[i], strlen(claim->paused[i]));
	value_int8(&o->wanted, claim->lanes_wanted);
	value_int8(&o->rows_wanted, claim->rows_wanted);
	value_int8(&o->upto, claim->highest);
	value_oid(&o->sequence, (uint32_t)claim->sequence);
	snprintf(p->patience, sizeof(p->patience), "%lldms", (long long)claim->patience_ms);
	p->settings[0] = param_text(p->patience);
	p->lanes[0] = p->rows[0] = p->sieve[0] = param_binary(&o->lane_numbers);
	p->lanes[1] = p->rows[1] = p->sieve[1] = param_binary(&o->lows);
	p->lanes[2] = p->rows[2] = p->sieve[4] = param_binary(&o->bounds);
	p->lanes[3] = p->rows[3] = param_binary(&o->writers);
	p->lanes[4] = p->rows[4] = p->sieve[2] = param_binary(&o->upto);
	p->lanes[5] = param_binary(&o->wanted);
	p->lanes[6] = param_binary(&o->sequence);
	p->lanes[7] = param_binary(&o->rows_wanted);
	p->rows[5] = p->sieve[3] = param_binary(&o->paused);
}

void outbox_claim(struct outbox *o, struct conn *c, const struct claim *claim)
{
	struct claim_params p;

	fill_claim(o, claim, &p);

	const struct step steps[] = {
		{ .sql = o->begin, .kept = true },
		{ .sql = o->settings,
		  .params = p.settings,
		  .param_count = array_len(p.settings),
		  .kept = true },
		[CLAIM_STEP_LANES] = { .sql = claim->crowded ? o->lanes_crowded : o->lanes,
				       .params = p.lanes,
				       .param_count = array_len(p.lanes),
				       .kept = claim->at_rest },
		{ .sql = o->savepoint, .kept = true },
		[CLAIM_STEP_ROWS] = { .sql = o->claim,
				      .params = p.rows,
				      .param_count = array_len(p.rows),
				      .stream = true,
				      .kept = claim->at_rest },
	};

	conn_run(c, steps, array_len(steps));
}

// {0,5,11}: numbers without a sign, the first `most` of them.
static int read_numbers(struct slice text, int64_t *out, int most)
{
	int count = 0;
	bool in_number = false;

	for (size_t i = 0; i < text.n; i++) {
		bool is_digit = text.p[i] >= '0' && text.p[i] <= '9';

		if (is_digit && !in_number && count == most)
			break;
		if (is_digit && !in_number)
			out[count++] = 0;
		if (is_digit)
			out[count - 1] = out[count - 1] * 10 + (text.p[i] - '0');
		in_number = is_digit;
	}
	return count;
}

void outbox_read_lanes(const struct pg_result *res, int row, struct lanes_taken *ret)
{
	int64_t lane[LANES];
	int count = read_numbers(value_get_text(res, row, 0), lane, LANES);

	*ret = (struct lanes_taken){
		.drawn = value_get_int(res, row, 1),
		.xmin = value_get_int(res, row, 2),
		.per_lane = value_get_int(res, row, 3),
		.crowded = value_get_bool(res, row, 7),
	};
	for (int i = 0; i < count; i++)
		ret->lanes |= lane[i] < LANES ? 1u << lane[i] : 0;
	ret->writers = read_numbers(value_get_text(res, row, 5), ret->writer, WRITERS_MAX);
	ret->others = read_numbers(value_get_text(res, row, 6), ret->other, WRITERS_MAX + 1);
}

void outbox_read_row(const struct outbox *o, const struct pg_result *res, int row, struct row *ret_row,
		     bool *ret_parked, int64_t *ret_xmax)
{
	*ret_row = (struct row){
		.tid = value_get_tid(res, row, 0),
		.lane = (int32_t)value_get_int(res, row, 1),
		.id = value_get_int(res, row, 2),
		.attempts = (int32_t)value_get_int(res, row, 3),
		.created_us = value_get_time_us(res, row, 4),
		.has_version = !value_is_null(res, row, 5),
		.version = value_get_int(res, row, 5),
		.index = value_get_text(res, row, 6),
		.document_id = value_get_text(res, row, 7),
		.operation = value_get_text(res, row, 8),
		.routing = value_get_text(res, row, 9),
		.pipeline = value_get_text(res, row, 10),
		.document = value_get_text(res, row, 11),
		.trace = value_get_text(res, row, 12),
		.refresh = value_get_text(res, row, 13),
	};
	*ret_parked = value_get_bool(res, row, 15);
	*ret_xmax = value_get_int(res, row, 16);
	if (!o->updates)
		return;
	ret_row->refused = !value_is_null(res, row, 14);
	ret_row->waited_ms = ret_row->refused ? value_get_int(res, row, 14) : 0;
	ret_row->is_behind = !value_is_null(res, row, 17);
	if (!ret_row->is_behind)
		return;
	ret_row->behind = value_get_int(res, row, 17);
	ret_row->behind_wait_ms = value_is_null(res, row, 18) ? -1 : value_get_int(res, row, 18);
}

int64_t outbox_read_held(const struct pg_result *res, int row)
{
	return value_get_int(res, row, 0);
}

void outbox_settle(struct outbox *o, struct conn *c, const struct batch *b, bool parked, struct rng *rng,
		   struct settlement *ret)
{
	struct retry_pace pace = { o->retry_base_ms, o->retry_cap_ms, rng };
	auto_free char *troubles = settle_troubles(b, &pace);
	// With keep = 0 the delivered events are gone: there is nothing to compare a version with.
	auto_free char *conflicts = o->keep_ms > 0 ? settle_conflicts(b, &o->conflict_tids) : NULL;
	// A conflict that is not believed leaves a refused row behind, too.
	auto_free char *keys = parked || conflicts ? settle_keys(b) : NULL;
	char wait[24], keep[24];

	snprintf(wait, sizeof(wait), "%lld", (long long)o->retry_cap_ms);
	snprintf(keep, sizeof(keep), "%lld", (long long)o->keep_ms);
	settle_marks(b, &o->marks);
	settle_parks(b, &o->parks);

	const struct param looks[] = { param_binary(&o->conflict_tids), param_text(conflicts),
				       param_text(wait), param_text(keep) };
	const struct param marks[] = { param_binary(&o->marks) };
	const struct param parks[] = { param_binary(&o->parks), param_text(troubles) };
	const struct param accepted[] = { param_text(keys) };
	struct step steps[6];
	int n = 0;

	*ret = (struct settlement){ .conflicts = -1, .hold = -1 };
	if (conflicts) {
		ret->conflicts = n;
		steps[n++] = (struct step){ .sql = o->conflicts, .params = looks, .param_count = 4 };
	}
	if (keys) {
		ret->hold = n;
		steps[n++] = (struct step){ .sql = o->hold, .params = accepted, .param_count = 1 };
	}
	ret->mark = n;
	steps[n++] = (struct step){ .sql = o->keep_ms > 0 ? o->settle : o->settle_delete,
				    .params = marks,
				    .param_count = 1,
				    .kept = !o->partitioned }; // which ones is only known while it is planned
	if (batch_fates(b, FATE_DEAD) + batch_fates(b, FATE_WAITING) > 0)
		steps[n++] = (struct step){ .sql = o->park, .params = parks, .param_count = 2 };
	if (keys)
		steps[n++] = (struct step){ .sql = o->supersede, .params = accepted, .param_count = 1 };
	steps[n++] = (struct step){ .sql = sql_query_commit, .kept = true };
	conn_run(c, steps, n);
}

// COMMIT of a transaction that failed before is answered by ROLLBACK, and that without any error.
bool outbox_committed(const struct script_result *result)
{
	for (int i = 0; i < SCRIPT_STEPS_MAX; i++) {
		if (result->affected[i] < 0)
			return false;
	}
	return result->ok;
}

void outbox_rollback(struct outbox *o, struct conn *c)
{
	(void)o;
	conn_run(c, &(struct step){ .sql = sql_query_rollback }, 1);
}

void outbox_sieve(struct outbox *o, struct conn *c, const struct claim *claim)
{
	struct claim_params p;

	fill_claim(o, claim, &p);

	const struct step steps[] = {
		{ .sql = o->begin },
		{ .sql = o->settings, .params = p.settings, .param_count = array_len(p.settings) },
		[CLAIM_STEP_LANES] = { .sql = o->lanes,
				       .params = p.lanes,
				       .param_count = array_len(p.lanes) },
		{ .sql = sql_query_sieve_settings, .params = p.sieve, .param_count = array_len(p.sieve) },
		{ .sql = o->sieve },
		[SIEVE_STEP_COUNT] = { .sql = sql_query_sieved },
		{ .sql = sql_query_commit },
	};

	conn_run(c, steps, array_len(steps));
}

void outbox_wake(struct outbox *o, struct conn *c)
{
	const struct param params[] = { param_text(o->mapping.channel) };

	conn_run(c, &(struct step){ .sql = sql_query_wake, .params = params, .param_count = 1 }, 1);
}

void outbox_left(struct outbox *o, struct conn *c, int64_t highest)
{
	value_int8(&o->upto, highest);

	const struct param params[] = { param_binary(&o->upto) };

	conn_run(c, &(struct step){ .sql = o->left, .params = params, .param_count = 1 }, 1);
}

void outbox_listen(struct outbox *o, struct conn *c)
{
	conn_run(c, &(struct step){ .sql = o->mapping.listen }, 1);
}

// In a transaction of its own, bounded as a count is.
static void run_retention(struct conn *c, const char *sql, const struct param *params, int count)
{
	const struct step steps[] = {
		{ .sql = sql_query_begin },
		{ .sql = sql_query_survey_settings },
		[PURGE_STEP_ROWS] = { .sql = sql, .params = params, .param_count = count },
		{ .sql = sql_query_commit },
	};

	conn_run(c, steps, array_len(steps));
}

void outbox_purge(struct outbox *o, struct conn *c, int64_t keep_ms, int64_t above, int64_t below,
		  int64_t limit)
{
	auto_buf keep = { 0 }, from = { 0 }, most = { 0 }, to = { 0 };

	buf_init(&keep, 16);
	buf_init(&from, 16);
	buf_init(&most, 16);
	value_int8(&keep, keep_ms);
	value_int8(&from, above);
	buf_init(&to, 16);
	value_int8(&most, limit);
	value_int8(&to, below);

	const struct param params[] = { param_binary(&keep), param_binary(&from), param_binary(&most),
					param_binary(&to) };
	run_retention(c, o->purge, params, o->partitioned ? 4 : 3);
}

void outbox_read_purge(const struct pg_result *res, int row, struct purge *ret)
{
	ret->deleted = value_get_int(res, row, 0);
	ret->last = value_get_int(res, row, 1);
	ret->at_end = value_is_null(res, row, 1);
	ret->young = value_get_bool(res, row, 2);
}

void outbox_rotate(struct outbox *o, struct conn *c, int64_t keep_ms)
{
	auto_buf keep = { 0 };

	buf_init(&keep, 16);
	value_int8(&keep, keep_ms);

	const struct param params[] = { keep_ms < 0 ? param_text(NULL) : param_binary(&keep) };
	run_retention(c, o->rotate, params, array_len(params));
}

void outbox_read_rotation(const struct pg_result *res, int row, struct rotation *ret)
{
	ret->created = value_get_int(res, row, 0);
	ret->dropped = value_get_int(res, row, 1);
	ret->busy = value_get_bool(res, row, 2);
	ret->below = value_is_null(res, row, 3) ? PURGE_FROM_START : value_get_int(res, row, 3);
}
