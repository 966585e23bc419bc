// SPDX-License-Identifier: MIT
#include "pg/backfill.h"

#include "base/clock.h"
#include "base/parse.h"
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "cmd/progress.h"
#include "cmd/table.h"
#include "pg/sync.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#define AHEAD_EVENTS 10000 // undelivered ones of its own: what a live event may have before it
#define LOOK_MS 20
#define BUSY_MS 500
#define SAY_MS 5000
#define PIECES_PER_SECOND 10 // of a limited rate: even, not in bursts

struct run {
	struct backfill *backfill;
	int64_t rate_rows, rate_bytes; // a second; 0 = as fast as it goes
	int64_t ahead;
	int64_t rows, events, bytes, started_ms;
	int64_t stuck_ms; // since when other transactions are in the way; 0 = they are not
	bool done, said;
};

static bool list(const struct call *call, struct err *e)
{
	struct pg_result *res = backfill_list(call->config, e);

	if (res)
		table_print(res, call->json);
	else if (e->kind == ERR_NONE)
		puts(call->json ? "[]" : "no backfill was begun");
	sync_free(res);
	return e->kind == ERR_NONE;
}

// Live events first: they have at most `ahead` of these before them.
static bool wait_for_room(const struct run *r, int64_t *ret_room, struct err *e)
{
	int64_t since_ms = clock_boot_ms(), waiting, before = -1;
	bool said = false;

	while (!interrupt_came()) {
		if (!backfill_ahead(r->backfill, &waiting, e))
			return false;
		*ret_room = r->ahead - waiting;
		if (*ret_room > 0)
			return true;
		if (waiting != before)
			since_ms = clock_boot_ms();
		before = waiting;
		if (!said && clock_boot_ms() - since_ms >= SAY_MS) {
			fprintf(stderr,
				"backfill: %" PRId64
				" of its events wait for delivery; does outboxd run? See `outboxd status`\n",
				waiting);
			said = true;
		}
		(void)poll(NULL, 0, said ? BUSY_MS : LOOK_MS);
	}
	return true;
}

static int64_t due_ms(const struct run *r)
{
	int64_t due = 0, by_bytes = 0;

	if (r->rate_rows > 0)
		due = r->rows * 1000 / r->rate_rows;
	if (r->rate_bytes > 0)
		by_bytes = r->bytes * 1000 / r->rate_bytes;
	return r->started_ms + (due > by_bytes ? due : by_bytes);
}

static void keep_rate(const struct run *r)
{
	int64_t left_ms;

	while (!interrupt_came() && (left_ms = due_ms(r) - clock_boot_ms()) > 0)
		(void)poll(NULL, 0, left_ms < BUSY_MS ? (int)left_ms : BUSY_MS);
}

static int64_t most_rows(const struct run *r, int64_t room)
{
	int64_t most = room;

	if (r->rate_rows > 0 && r->rate_rows / PIECES_PER_SECOND < most)
		most = r->rate_rows / PIECES_PER_SECOND;
	return most > 0 ? most : 1;
}

// Rows of open transactions, or a lock on the table.
static void wait_for_others(struct run *r)
{
	int64_t now_ms = clock_boot_ms();

	if (r->stuck_ms == 0)
		r->stuck_ms = now_ms;
	if (!r->said && now_ms - r->stuck_ms >= SAY_MS) {
		fprintf(stderr,
			"backfill: waits for open transactions that hold its rows; see pg_stat_activity\n");
		r->said = true;
	}
	(void)poll(NULL, 0, BUSY_MS);
}

static bool step(struct run *r, struct err *e)
{
	struct backfill_piece piece;
	int64_t room = 0;

	if (!wait_for_room(r, &room, e))
		return false;
	if (interrupt_came())
		return true;
	if (!backfill_next(r->backfill, most_rows(r, room), &piece, e))
		return false;
	r->rows += piece.rows;
	r->events += piece.events;
	r->bytes += piece.bytes;
	r->done = piece.done;
	if (piece.rows > 0 || piece.locked > 0)
		r->stuck_ms = 0;
	else if (!piece.done)
		wait_for_others(r);
	keep_rate(r);
	return true;
}

static bool fill(struct run *r, int64_t before, struct err *e)
{
	struct progress p;
	int64_t total = -1;
	bool ok = !progress_on_terminal() || backfill_estimate(r->backfill, &total, e);

	interrupt_catch();
	progress_start(&p, "backfill", total > before ? total - before : -1);
	r->started_ms = clock_boot_ms();
	while (ok && !r->done && !interrupt_came()) {
		ok = step(r, e);
		progress_show(&p, r->rows);
	}
	progress_end(&p);
	if (ok && !r->done)
		ok = err_set(e, ERR_UNAVAILABLE, "interrupted");
	if (!ok)
		err_prefix(e, "what is done stays, and the same command goes on from there");
	return ok;
}

static void report(const struct call *call, const struct run *r)
{
	char size[32];

	parse_format_size(r->bytes, size);
	if (call->json)
		printf("{\"rows\": %" PRId64 ", \"events\": %" PRId64 ", \"bytes\": %" PRId64
		       ", \"done\": %s%s}\n",
		       r->rows, r->events, r->bytes, r->done ? "true" : "false",
		       call->dry_run ? ", \"dry_run\": true" : "");
	else if (call->dry_run)
		printf("%" PRId64 " rows of %s would become events of index %s, about %s\n", r->rows,
		       backfill_table(r->backfill), backfill_index(r->backfill), size);
	else
		printf("%" PRId64 " rows of %s read, %" PRId64 " events of index %s written\n", r->rows,
		       backfill_table(r->backfill), r->events, backfill_index(r->backfill));
}

static bool run(const struct call *call, struct run *r, struct err *e)
{
	int64_t before;
	bool ok;

	if (call->dry_run) {
		ok = backfill_count(r->backfill, &r->rows, &r->bytes, e);
		r->events = r->rows;
	} else {
		ok = backfill_start(r->backfill, call->restart, &before, e);
		if (ok && before > 0 && !call->json)
			fprintf(stderr, "backfill: goes on after %" PRId64 " rows; --restart begins anew\n",
				before);
		ok = ok && fill(r, before, e);
	}
	if (ok || r->rows > 0)
		report(call, r);
	return ok;
}

int cmd_backfill(const struct call *call, struct err *e)
{
	const struct source_spec spec = command_source(call);
	struct run r = { .rate_rows = call->rate, .ahead = call->ahead > 0 ? call->ahead : AHEAD_EVENTS };

	if (call->word_count == 0)
		return list(call, e) ? 0 : err_exit_code(e->kind);
	if (call->rate_bytes && !parse_size(call->rate_bytes, &r.rate_bytes, e)) {
		e->kind = ERR_USAGE;
		err_prefix(e, "--rate-bytes");
		return err_exit_code(e->kind);
	}
	r.backfill = backfill_open(call->config, &spec, e);
	if (r.backfill)
		(void)run(call, &r, e);
	backfill_close(r.backfill);
	return err_exit_code(e->kind);
}
