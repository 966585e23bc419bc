// SPDX-License-Identifier: MIT
// `outboxd check`: looks at the database as the relay will meet it, and says what to do.
#include "cmd/command.h"
#include "cmd/table.h"
#include "pg/operator.h"
#include "pg/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_findings(const struct pg_result *res)
{
	int bad = 0;

	for (int r = 0; r < sync_rows(res); r++) {
		const char *fine = sync_text(res, r, 1);
		bool is_fine = fine && strcmp(fine, "t") == 0;

		printf("%-8s %s", is_fine ? "ok" : "PROBLEM", sync_text(res, r, 0));
		if (!is_fine)
			printf(": %s", sync_text(res, r, 2));
		putchar('\n');
		bad += !is_fine;
	}
	return bad;
}

static int raise_sequence(const struct call *call, struct err *e)
{
	struct pg_result *res = operator_raise_sequence(call->config, e);

	if (!res)
		return err_exit_code(e->kind);
	if (call->json)
		table_print(res, true);
	else if (strcmp(sync_text(res, 0, 0), "0") == 0)
		printf("no event waits for a version from the future: nothing to do\n");
	else
		printf("sequence raised to %s, %s undelivered events numbered anew\n", sync_text(res, 0, 0),
		       sync_text(res, 0, 1));
	sync_free(res);
	return 0;
}

int cmd_check(const struct call *call, struct err *e)
{
	struct pg_result *res;
	int bad = 0;

	if (call->raise_sequence)
		return raise_sequence(call, e);
	res = operator_check(call->config, e);
	if (!res)
		return err_exit_code(e->kind);
	if (call->json)
		table_print(res, true);
	else
		bad = print_findings(res);
	sync_free(res);
	return bad ? err_exit_code(ERR_CONFIG) : 0;
}
