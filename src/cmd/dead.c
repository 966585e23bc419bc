// SPDX-License-Identifier: MIT
// `outboxd status`, `outboxd dead` and `outboxd requeue`.
#include "cmd/command.h"
#include "cmd/table.h"
#include "pg/operator.h"
#include "pg/sync.h"

#include <stdio.h>

#define LIST_MAX 100

static int show(struct pg_result *res, const struct call *call, const char *none, const struct err *e)
{
	if (!res)
		return err_exit_code(e->kind);
	if (sync_rows(res) == 0 && !call->json)
		printf("%s\n", none);
	else
		table_print(res, call->json);
	sync_free(res);
	return 0;
}

int cmd_status(const struct call *call, struct err *e)
{
	return show(operator_status(call->config, e), call, "", e);
}

int cmd_dead(const struct call *call, struct err *e)
{
	const char *ids = call->ids ? call->ids : call->word_count > 0 ? call->words[0] : NULL;
	long long limit = call->limit > 0 ? call->limit : LIST_MAX;

	return show(operator_dead(call->config, ids, limit, e), call, "no dead events", e);
}

int cmd_requeue(const struct call *call, struct err *e)
{
	const char *ids = call->ids ? call->ids : call->word_count > 0 ? call->words[0] : NULL;
	struct requeued rows;

	if (!ids == !call->all) {
		err_set(e, ERR_USAGE, "requeue: name the events (outboxd requeue 12,15) or say --all");
		return err_exit_code(e->kind);
	}
	if (!operator_requeue(call->config, ids, &rows, e))
		return err_exit_code(e->kind);
	if (call->json)
		printf("{\"requeued\": %lld, \"superseded\": %lld}\n", rows.pending, rows.superseded);
	else
		printf("%lld event%s requeued\n", rows.pending, rows.pending == 1 ? "" : "s");
	if (rows.superseded > 0 && !call->json)
		printf("%lld settled: a newer event of the document was delivered meanwhile\n",
		       rows.superseded);
	return 0;
}
