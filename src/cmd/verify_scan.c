// SPDX-License-Identifier: MIT
// Rows are read by key and their documents asked for by id, which Elasticsearch answers from what was written last, refreshed or
// not. The other way a search goes through the index, and PostgreSQL says which ids it has no row for. So neither side has to
// be sorted as the other, and memory holds a piece.
#include "cmd/verify.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/interrupt.h"
#include "cmd/scroll.h"
#include "es/http_sync.h"
#include "pg/sync.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ROWS 2000
#define PIECE_BYTES (INT64_C(4) * 1024 * 1024)
#define FIRST_ROWS 100
#define PAGE_MOST 5000
#define LOOK_AFTER 500 // doubts that are worth a look before the next piece

struct scan {
	struct verify *verify;
	struct http_sync *http;
	struct doubts *doubts;
	struct verified *sums;
	int64_t rate;
	void (*show)(void *arg);
	void *arg;
	int64_t piece_rows, started_ms;
	char *after, *scroll;
	int64_t away_ms;              // since when a piece fails; 0 = it does not
	int64_t page_ids, search_ids; // of the search: a page, and those seen
};

// So that a row and a document cost the servers the same time, however many there are.
static void keep_pace(const struct scan *s)
{
	int64_t due_ms;

	s->show(s->arg);
	if (s->rate == 0)
		return;
	due_ms = s->started_ms + (s->sums->rows + s->sums->ids) * 1000 / s->rate;
	for (int64_t left_ms; (left_ms = due_ms - clock_boot_ms()) > 0 && !interrupt_came();)
		(void)poll(NULL, 0, left_ms < 200 ? (int)left_ms : 200);
}

// Doubts that wait for delivery stay; when there are too many of them, the scan waits too.
static bool look_closely(struct scan *s, struct err *e)
{
	bool ok = doubts_count(s->doubts) < LOOK_AFTER || doubts_look(s->doubts, e);

	while (ok && doubts_count(s->doubts) >= DOUBTS_MAX && !interrupt_came()) {
		(void)poll(NULL, 0, 100);
		ok = doubts_look(s->doubts, e);
	}
	return ok;
}

static bool note_doubts(struct scan *s, const struct pg_result *next, const char *answer, struct err *e)
{
	struct pg_result *res = verify_compare(s->verify, next, answer, e);
	bool ok = res != NULL;

	for (int r = 0; ok && r < sync_rows(res); r++) {
		if (sync_text(res, r, 1))
			ok = err_set(e, ERR_UNAVAILABLE, "Elasticsearch could not read a document: %s",
				     sync_text(res, r, 1));
		else
			doubts_add(s->doubts, sync_text(res, r, 0));
	}
	sync_free(res);
	return ok;
}

static void note_bytes(struct scan *s, const struct pg_result *next)
{
	int64_t bytes = sync_int(next, 0, NEXT_BYTES), rows = sync_int(next, 0, NEXT_ROWS);
	int64_t fits = bytes > 0 ? rows * PIECE_BYTES / bytes : PIECE_ROWS;

	fits = fits < 2 * s->piece_rows ? fits : 2 * s->piece_rows;
	s->piece_rows = fits < 1 ? 1 : fits > PIECE_ROWS ? PIECE_ROWS : fits;
}

static bool move_on(struct scan *s, const struct pg_result *next)
{
	free(s->after);
	s->after = mem_strdup(sync_text(next, 0, NEXT_LAST));
	s->sums->rows += sync_int(next, 0, NEXT_ROWS);
	s->sums->documents += sync_int(next, 0, NEXT_DOCUMENTS);
	note_bytes(s, next);
	return true;
}

// What is too much for one answer, or what jsonb cannot be: the piece is halved until one row is left.
static bool halve(struct scan *s, const struct pg_result *next, struct err *e)
{
	if (e->kind != ERR_DATA)
		return false;
	*e = (struct err){ 0 };
	if (s->piece_rows > 1) {
		s->piece_rows /= 2;
		return true;
	}
	// It is settled by a look of its own.
	doubts_add(s->doubts, sync_text(next, 0, NEXT_LAST));
	return move_on(s, next);
}

static bool compare_piece(struct scan *s, const struct pg_result *next, struct err *e)
{
	const struct http_reply *reply;

	if (sync_int(next, 0, NEXT_ASKED) > 0 &&
	    !(verify_ask(s->http, "POST", "/_mget", sync_text(next, 0, NEXT_BODY), &reply, e) &&
	      note_doubts(s, next, reply->body, e)))
		return halve(s, next, e);
	return move_on(s, next);
}

static bool scan_piece(struct scan *s, bool *ret_more, struct err *e)
{
	struct pg_result *next = verify_next(s->verify, s->after, s->piece_rows, e);
	bool ok = next != NULL;

	*ret_more = !ok || sync_int(next, 0, NEXT_ROWS) > 0;
	if (ok && *ret_more)
		ok = compare_piece(s, next, e);
	sync_free(next);
	if (ok)
		s->away_ms = 0;
	return ok || (!verify_is_lost(s->verify) && verify_comes_again(&s->away_ms, e));
}

static bool scan_rows(struct scan *s, struct err *e)
{
	bool more = true, ok = true;

	while (ok && more && !interrupt_came()) {
		ok = scan_piece(s, &more, e) && look_closely(s, e);
		keep_pace(s);
	}
	return ok;
}

static bool ask_page(struct scan *s, const struct http_reply **ret, struct err *e)
{
	auto_free char *path = http_path("/", verify_index(s->verify), "/_search?scroll=" SCROLL_KEEP);
	char body[80];

	if (s->scroll)
		return scroll_next(s->http, s->scroll, ret, e);
	snprintf(body, sizeof(body), "{\"size\":%" PRId64 ",\"sort\":[\"_doc\"],\"_source\":false}",
		 s->page_ids);
	return verify_ask(s->http, "POST", path, body, ret, e);
}

// Every id of the index, or an error.
static bool is_whole(const struct scan *s, const struct pg_result *res, struct err *e)
{
	bool last = sync_int(res, 0, PAGE_IDS) == 0;

	if (sync_int(res, 0, PAGE_FAILED) > 0 ||
	    (last && sync_text(res, 0, PAGE_TOTAL) && sync_int(res, 0, PAGE_TOTAL) != s->search_ids))
		return err_set(e, ERR_UNAVAILABLE,
			       "Elasticsearch did not answer for the whole index: verify it again");
	return true;
}

static bool note_page(struct scan *s, const struct pg_result *res, bool *ret_more, struct err *e)
{
	int64_t ids = sync_int(res, 0, PAGE_IDS);

	free(s->scroll);
	s->scroll = mem_strdup(sync_text(res, 0, PAGE_NEXT) ? sync_text(res, 0, PAGE_NEXT) : "");
	*ret_more = ids > 0;
	s->sums->ids += ids;
	s->search_ids += ids;
	for (int r = 1; r < sync_rows(res); r++)
		doubts_add(s->doubts, sync_text(res, r, 0));
	return is_whole(s, res, e);
}

static bool scan_page(struct scan *s, bool *ret_more, struct err *e)
{
	const struct http_reply *reply;
	struct pg_result *res;
	bool ok;

	*ret_more = false;
	if (!ask_page(s, &reply, e)) {
		bool absent = !s->scroll && reply->fault == HTTP_FINE && reply->status == 404;

		if (absent)
			*e = (struct err){ 0 };
		return absent;
	}
	res = verify_extra(s->verify, reply->body, e);
	ok = res && note_page(s, res, ret_more, e);
	sync_free(res);
	return ok;
}

// So that a search sees what was written before. A role may lack the right: then it sees what was refreshed by itself.
static void refresh(struct scan *s)
{
	auto_free char *path = http_path("/", verify_index(s->verify), "/_refresh");
	const struct http_reply *reply;
	struct err ignored = { 0 };

	if (!verify_ask(s->http, "POST", path, NULL, &reply, &ignored))
		return;
}

static bool scan_index(struct scan *s, struct err *e)
{
	bool more = true, ok = true;

	s->page_ids = s->rate > 0 && s->rate * 10 < PAGE_MOST ? s->rate * 10 : PAGE_MOST;
	refresh(s);
	while (ok && more && !interrupt_came()) {
		ok = scan_page(s, &more, e) && look_closely(s, e);
		keep_pace(s);
	}
	scroll_end(s->http, s->scroll);
	return ok;
}

bool verify_scan(struct verify *v, struct http_sync *http, struct doubts *d, struct verified *sums,
		 int64_t rate, void (*show)(void *arg), void *arg, struct err *e)
{
	struct scan s = {
		.verify = v,
		.http = http,
		.doubts = d,
		.sums = sums,
		.rate = rate,
		.show = show,
		.arg = arg,
		.piece_rows = FIRST_ROWS,
		.started_ms = clock_boot_ms(),
	};
	bool whole = *verify_index(v) && !verify_is_shared(v);
	bool ok = scan_rows(&s, e) && (!whole || scan_index(&s, e));

	while (ok && doubts_count(d) > 0 && !interrupt_came()) {
		ok = doubts_look(d, e);
		keep_pace(&s);
		if (doubts_count(d) > 0)
			(void)poll(NULL, 0, 100);
	}
	free(s.after);
	free(s.scroll);
	return ok;
}
