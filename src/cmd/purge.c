// SPDX-License-Identifier: MIT
#include "base/parse.h"
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "cmd/progress.h"
#include "pg/mend.h"

#include <inttypes.h>
#include <stdio.h>

// Dead rows are walked like those of a requeue, delivered ones by their ids.
struct walk {
	struct desk *desk;
	struct mend *dead; // NULL = delivered rows
	int64_t older_ms, above;
};

static bool step(struct walk *w, int64_t *ret_rows, bool *ret_more, struct err *e)
{
	if (w->dead)
		return mend_next(w->dead, MEND_DELETE, w->older_ms, ret_rows, ret_more, e);
	return mend_purge(w->desk, w->older_ms, &w->above, ret_rows, ret_more, e);
}

static bool purge(struct walk *w, int64_t *ret_deleted, struct err *e)
{
	int64_t total = -1, rows;
	bool more = true, ok = true;
	struct progress p;

	// To count is to read the table once more: only for somebody who watches.
	if (progress_on_terminal())
		ok = mend_count(w->desk, w->older_ms, w->dead != NULL, &total, e);
	interrupt_catch();
	progress_start(&p, "purge", total);
	while (ok && more && !interrupt_came()) {
		rows = 0;
		ok = step(w, &rows, &more, e);
		*ret_deleted += rows;
		progress_show(&p, *ret_deleted);
	}
	progress_end(&p);
	if (ok && more)
		return err_set(e, ERR_UNAVAILABLE, "interrupted: the other rows stay");
	return ok;
}

static void report(const struct call *call, int64_t rows)
{
	if (call->json)
		printf("{\"deleted\": %" PRId64 "%s}\n", rows, call->dry_run ? ", \"dry_run\": true" : "");
	else
		printf("%" PRId64 " %s event%s %sdeleted\n", rows, call->dead ? "dead" : "delivered",
		       rows == 1 ? "" : "s", call->dry_run ? "would be " : "");
}

static bool purge_rows(const struct call *call, struct desk *d, int64_t older_ms, struct err *e)
{
	const struct selection every = { 0 };
	struct walk w = { .desk = d, .older_ms = older_ms, .above = INT64_MIN };
	int64_t rows = 0;
	bool ok;

	if (call->dead) {
		w.dead = mend_new(d, &every, e);
		if (!w.dead)
			return false;
	}
	ok = call->dry_run ? mend_count(d, older_ms, call->dead, &rows, e) : purge(&w, &rows, e);
	if (ok || rows > 0)
		report(call, rows);
	mend_free(w.dead);
	return ok;
}

int cmd_purge(const struct call *call, struct err *e)
{
	int64_t older_ms = call->config->retention_keep;
	struct desk *d;

	if (call->dead && !call->older_than) {
		err_set(e, ERR_USAGE, "purge --dead: say --older-than, for example 30d");
	} else if (call->older_than && !parse_duration_ms(call->older_than, &older_ms, e)) {
		e->kind = ERR_USAGE;
		err_prefix(e, "--older-than");
	} else if ((d = desk_open(call->config, e))) {
		(void)purge_rows(call, d, older_ms, e);
		desk_close(d);
	}
	return err_exit_code(e->kind);
}
