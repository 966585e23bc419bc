// SPDX-License-Identifier: MIT
#include "pg/backfill.h"

#include "base/attr.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A piece holds its rows for about so long, and writes about so much: whoever wants to change one waits that long.
#define PIECE_MS 100
#define PIECE_BYTES (INT64_C(4) * 1024 * 1024)
#define FIRST_ROWS 5
#define MOST_ROWS 5000
#define HELD_MAX 10000 // then their turn comes first

// Two that begin at once would both make the table.
#define LOCK_TEXT "SELECT pg_advisory_xact_lock(hashtext('outboxd backfill'))"

struct backfill {
	struct source *source;
	// backfill_lock.sql: the next rows; those passed over; one of them, and waits for it.
	char *lock_next, *lock_held, *lock_patient;
	char *documents;   // what a document is, of which rows, by which key
	int64_t rows;      // of the next piece
	bool patient;      // of those that were passed over all are still held
	int64_t low, high; // ids of this run's events that may be undelivered; high 0 = none
};

// The columns of backfill_where.sql and backfill_lock.sql.
enum { WHERE_LAST, WHERE_HELD, WHERE_HELD_COUNT, WHERE_FINISHED, WHERE_UNTIL };
enum { LOCK_SEEN, LOCK_LAST, LOCK_HELD, LOCK_LOCKED, LOCK_COUNT };

static char *lock_statement(struct source *s, const char *rows, const char *skip)
{
	auto_free char *sub = source_fill(s, rows);
	int mark = source_mark(s);
	char *text;

	source_put(s, "rows", sub);
	source_put(s, "skip", skip);
	text = source_fill(s, sql_query_backfill_lock);
	source_forget(s, mark);
	return text;
}

struct backfill *backfill_open(const struct config *config, const struct source_spec *spec, struct err *e)
{
	struct backfill *b = mem_calloc(1, sizeof(*b));

	b->rows = FIRST_ROWS;
	b->source = source_open(config, e);
	if (!b->source || !source_find_tracked(b->source, spec, e)) {
		(void)source_explain(e, "backfill", spec->table);
		backfill_close(b);
		return NULL;
	}
	b->lock_next = lock_statement(b->source, sql_query_backfill_next, "SKIP LOCKED");
	b->lock_held = lock_statement(b->source, sql_query_backfill_held, "SKIP LOCKED");
	b->lock_patient = lock_statement(b->source, sql_query_backfill_held, "");
	b->documents = source_fill(b->source, "{row_document} OF {row_key} WHERE {condition}");
	return b;
}

void backfill_close(struct backfill *b)
{
	if (!b)
		return;
	source_close(b->source);
	free(b->lock_next);
	free(b->lock_held);
	free(b->lock_patient);
	free(b->documents);
	free(b);
}

const char *backfill_table(const struct backfill *b)
{
	return source_get(b->source, "tracked");
}

const char *backfill_index(const struct backfill *b)
{
	return source_get(b->source, "index_literal");
}

static struct pg_result *ask(struct backfill *b, const char *sql, const char *const *params, int count,
			     struct err *e)
{
	struct pg_result *res = source_ask(b->source, sql, params, count, e);

	if (!res)
		(void)source_explain(e, "backfill", backfill_table(b));
	return res;
}

bool backfill_count(struct backfill *b, int64_t *ret_rows, int64_t *ret_bytes, struct err *e)
{
	struct pg_result *res = ask(b, sql_query_backfill_count, NULL, 0, e);

	if (!res)
		return false;
	*ret_rows = sync_int(res, 0, 0);
	*ret_bytes = sync_int(res, 0, 1);
	sync_free(res);
	return true;
}

bool backfill_estimate(struct backfill *b, int64_t *ret_rows, struct err *e)
{
	struct pg_result *res = ask(b, sql_query_backfill_estimate, NULL, 0, e);

	if (!res)
		return false;
	*ret_rows = sync_rows(res) > 0 && sync_text(res, 0, 0) ? sync_int(res, 0, 0) : -1;
	sync_free(res);
	return true;
}

static struct pg_result *start(struct backfill *b, bool restart, struct err *e)
{
	auto_free char *table = source_fill(b->source, sql_query_backfill_table);
	const char *const params[] = { b->documents, restart ? "t" : "f" };
	struct sync *db = source_db(b->source);
	struct pg_result *res;

	if (!source_begin(b->source, e) || !sync_exec(db, LOCK_TEXT, e) || !sync_exec(db, table, e))
		return NULL;
	res = source_query(b->source, sql_query_backfill_forget, params, 2, e);
	sync_free(res);
	return res ? source_query(b->source, sql_query_backfill_start, params, 1, e) : NULL;
}

bool backfill_start(struct backfill *b, bool restart, int64_t *ret_rows, struct err *e)
{
	struct pg_result *res = start(b, restart, e);
	bool ok = res && source_commit(b->source, e);

	if (ok)
		*ret_rows = sync_int(res, 0, 0);
	sync_free(res);
	return ok || source_explain(e, "backfill", backfill_table(b));
}

// Locks the next rows or, when there are none any more or too many were passed over, some of those. *ret_turn = how many of
// the latter.
static struct pg_result *lock(struct backfill *b, const struct pg_result *where, int64_t most,
			      int64_t *ret_turn, struct err *e)
{
	struct sync *db = source_db(b->source);
	int64_t held = sync_int(where, 0, WHERE_HELD_COUNT);
	char limit[32];
	const char *const next[] = { sync_text(where, 0, WHERE_LAST), limit,
				     sync_text(where, 0, WHERE_UNTIL) };
	const char *const turn[] = { sync_text(where, 0, WHERE_HELD), limit };

	snprintf(limit, sizeof(limit), "%" PRId64, most);
	*ret_turn = 0;
	if (held < HELD_MAX) {
		struct pg_result *res = sync_query(db, b->lock_next, next, 3, e);

		if (!res || sync_int(res, 0, LOCK_SEEN) > 0 || held == 0)
			return res;
		sync_free(res);
	}
	*ret_turn = b->patient ? 1 : most < held ? most : held;
	snprintf(limit, sizeof(limit), "%" PRId64, *ret_turn);
	return sync_query(db, b->patient ? b->lock_patient : b->lock_held, turn, 2, e);
}

static bool insert(struct backfill *b, const char *keys, struct backfill_piece *ret, struct err *e)
{
	struct pg_result *res = source_query(b->source, sql_query_backfill_insert, &keys, 1, e);

	if (!res)
		return false;
	ret->events = sync_int(res, 0, 0);
	ret->bytes = sync_int(res, 0, 3);
	if (ret->events > 0) {
		b->low = b->high > 0 ? b->low : sync_int(res, 0, 1);
		b->high = sync_int(res, 0, 2);
	}
	sync_free(res);
	return true;
}

// Says where it stands now, in the transaction of what was done.
static bool move(struct backfill *b, const struct pg_result *where, const struct pg_result *locked,
		 int64_t turn, struct backfill_piece *ret, struct err *e)
{
	int64_t seen = sync_int(locked, 0, LOCK_SEEN), left = sync_int(where, 0, WHERE_HELD_COUNT) - turn;
	const char *held = sync_text(locked, 0, LOCK_HELD);
	bool none_held = strcmp(held, "{}") == 0;
	char turns[32], rows[32], events[32];
	const char *params[] = {
		turn > 0 ? NULL : sync_text(locked, 0, LOCK_LAST), turns, held, rows, events, NULL
	};
	struct pg_result *res;

	ret->rows = turn > 0 ? 0 : seen;
	ret->done = (turn > 0 || seen == 0) && none_held && left == 0;
	b->patient = turn > 0 && !none_held && ret->locked == 0;
	params[5] = ret->done ? "t" : "f";
	snprintf(turns, sizeof(turns), "%" PRId64, turn);
	snprintf(rows, sizeof(rows), "%" PRId64, ret->rows);
	snprintf(events, sizeof(events), "%" PRId64, ret->events);
	res = source_query(b->source, sql_query_backfill_move, params, 6, e);
	sync_free(res);
	return res != NULL;
}

static bool locked_piece(struct backfill *b, const struct pg_result *where, int64_t most,
			 struct backfill_piece *ret, struct err *e)
{
	int64_t turn;
	struct pg_result *locked = lock(b, where, most, &turn, e);
	bool ok = locked != NULL;

	if (ok) {
		ret->locked = sync_int(locked, 0, LOCK_COUNT);
		ok = (ret->locked == 0 || insert(b, sync_text(locked, 0, LOCK_LOCKED), ret, e)) &&
		     move(b, where, locked, turn, ret, e);
	}
	sync_free(locked);
	return ok;
}

static bool piece(struct backfill *b, int64_t most, struct backfill_piece *ret, struct err *e)
{
	const char *documents = b->documents;
	struct pg_result *where;
	bool ok;

	if (!source_begin(b->source, e))
		return false;
	where = source_query(b->source, sql_query_backfill_where, &documents, 1, e);
	ok = where && (sync_rows(where) > 0 ||
		       err_set(e, ERR_REFUSED, "a backfill of other documents took the place of this one"));
	if (ok && sync_true(where, 0, WHERE_FINISHED))
		ret->done = true; // another run of it did
	else if (ok)
		ok = locked_piece(b, where, most, ret, e);
	sync_free(where);
	return ok && source_commit(b->source, e);
}

// Pieces grow as long as they are quick and small.
static void adapt(struct backfill *b, const struct backfill_piece *done, int64_t took_ms)
{
	int64_t rows = done->rows > 0 ? done->rows : 1;
	int64_t by_time = rows * PIECE_MS / (took_ms > 0 ? took_ms : 1);
	int64_t by_bytes = done->bytes > 0 ? rows * PIECE_BYTES / done->bytes : MOST_ROWS;
	int64_t next = by_time < by_bytes ? by_time : by_bytes;

	if (next > 2 * b->rows)
		next = 2 * b->rows;
	b->rows = next < 1 ? 1 : next > MOST_ROWS ? MOST_ROWS : next;
}

bool backfill_next(struct backfill *b, int64_t most, struct backfill_piece *ret, struct err *e)
{
	int64_t started_ms = clock_boot_ms();

	*ret = (struct backfill_piece){ 0 };
	if (piece(b, most < b->rows ? most : b->rows, ret, e)) {
		if (ret->rows > 0)
			adapt(b, ret, clock_boot_ms() - started_ms);
		return true;
	}
	// statement_timeout: a smaller piece may do.
	if (!source_is_busy(e) && !(strcmp(e->sqlstate, "57014") == 0 && b->rows > 1))
		return source_explain(e, "backfill", backfill_table(b));
	*e = (struct err){ 0 };
	*ret = (struct backfill_piece){ .busy = true };
	b->patient = false;
	b->rows = b->rows > 1 ? b->rows / 2 : 1;
	return source_rollback(b->source, e) || source_explain(e, "backfill", backfill_table(b));
}

bool backfill_ahead(struct backfill *b, int64_t *ret_events, struct err *e)
{
	char low[32], high[32];
	const char *const params[] = { low, high };
	struct pg_result *res;

	*ret_events = 0;
	if (b->high == 0)
		return true;
	snprintf(low, sizeof(low), "%" PRId64, b->low);
	snprintf(high, sizeof(high), "%" PRId64, b->high);
	res = ask(b, sql_query_backfill_ahead, params, 2, e);
	if (!res)
		return false;
	*ret_events = sync_int(res, 0, 0);
	b->low = sync_int(res, 0, 1);
	if (*ret_events == 0)
		b->high = 0;
	sync_free(res);
	return true;
}

struct pg_result *backfill_list(const struct config *config, struct err *e)
{
	struct source *s = source_open(config, e);
	struct pg_result *res = NULL;

	if (s && source_look(s, sql_query_backfill_exists, NULL, 0, e) && *source_get(s, "backfills"))
		res = source_query(s, sql_query_backfill_list, NULL, 0, e);
	if (e->kind != ERR_NONE)
		(void)source_explain(e, "backfill", config->outbox_table);
	source_close(s);
	return res;
}
