// SPDX-License-Identifier: MIT
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "cmd/progress.h"
#include "pg/mend.h"

#include <inttypes.h>
#include <stdio.h>

struct requeued {
	int64_t pending, superseded; // rows
};

// Those whose document has moved on are found once, before the chunks. A relay that delivers a newer event later settles
// the older ones itself.
static bool settle_moved(struct mend *m, struct requeue_plan *plan, struct requeued *done, struct err *e)
{
	int64_t rows;

	while (plan->moved > 0 && !interrupt_came()) {
		if (!mend_settle(m, &rows, e))
			return false;
		done->superseded += rows;
		if (plan->moved <= MEND_SETTLE_ROWS)
			break;
		if (!mend_plan(m, plan, e))
			return false;
	}
	return true;
}

static bool requeue(struct mend *m, struct requeue_plan *plan, struct requeued *done, struct err *e)
{
	bool many = plan->dead > MEND_CHUNK_ROWS, more = true, ok = true;
	struct progress p;

	interrupt_catch();
	if (many)
		progress_start(&p, "requeue", plan->dead);
	ok = settle_moved(m, plan, done, e);
	while (ok && more && !interrupt_came()) {
		int64_t rows = 0;

		ok = mend_next(m, MEND_REQUEUE, 0, &rows, &more, e);
		done->pending += rows;
		if (many)
			progress_show(&p, done->pending + done->superseded);
	}
	if (many)
		progress_end(&p);
	if (ok && more)
		return err_set(e, ERR_UNAVAILABLE, "interrupted: the other events stay dead");
	return ok;
}

static void report(const struct call *call, const struct requeued *rows)
{
	const char *would = call->dry_run ? "would be " : "";

	if (call->json) {
		printf("{\"requeued\": %" PRId64 ", \"superseded\": %" PRId64 "%s}\n", rows->pending,
		       rows->superseded, call->dry_run ? ", \"dry_run\": true" : "");
		return;
	}
	printf("%" PRId64 " event%s %srequeued\n", rows->pending, rows->pending == 1 ? "" : "s", would);
	if (rows->superseded > 0)
		printf("%" PRId64 " %ssettled: a newer event of the document was delivered meanwhile\n",
		       rows->superseded, would);
}

static bool requeue_selected(const struct call *call, struct desk *d, const struct selection *s,
			     struct err *e)
{
	struct mend *m = mend_new(d, s, e);
	struct requeue_plan plan;
	struct requeued rows = { 0 };
	bool ok = m && mend_plan(m, &plan, e), planned = ok;

	if (ok && call->dry_run)
		rows = (struct requeued){ .pending = plan.dead - plan.moved, .superseded = plan.moved };
	else if (ok)
		ok = requeue(m, &plan, &rows, e);
	if (ok || (planned && rows.pending + rows.superseded > 0))
		report(call, &rows); // also what was done before it failed
	mend_free(m);
	return ok;
}

int cmd_requeue(const struct call *call, struct err *e)
{
	const struct selection s = command_selection(call);
	bool some = s.ids || s.type || s.index || s.key;
	struct desk *d;

	if (some == call->all)
		err_set(e, ERR_USAGE,
			"requeue: name the events (outboxd requeue 12,15, or --key, --type, --index), or say --all");
	else if ((d = desk_open(call->config, e))) {
		(void)requeue_selected(call, d, &s, e);
		desk_close(d);
	}
	return err_exit_code(e->kind);
}
