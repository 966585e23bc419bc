// SPDX-License-Identifier: MIT
#include "pg/track.h"

#include "cmd/command.h"
#include "cmd/table.h"
#include "pg/desk.h"
#include "pg/sql.h"
#include "pg/sync.h"

#include <stdio.h>

static bool list(const struct call *call, struct err *e)
{
	struct desk *d = desk_open(call->config, e);
	struct pg_result *res = d ? desk_query(d, sql_query_tracked, NULL, 0, e) : NULL;

	if (res && (sync_rows(res) > 0 || call->json))
		table_print(res, call->json);
	else if (res)
		puts("no table is tracked");
	sync_free(res);
	desk_close(d);
	return res != NULL;
}

struct source_spec command_source(const struct call *call)
{
	return (struct source_spec){
		.table = call->word_count > 0 ? call->words[0] : NULL,
		.index = call->index,
		.key = call->key,
		.view = call->view,
		.columns = call->columns,
		.condition = call->when,
	};
}

static bool install(const struct call *call, struct err *e)
{
	struct track t = {
		.source = command_source(call),
		.touches = call->touches,
		.always = call->always,
	};

	if (!call->index)
		return err_set(e, ERR_USAGE, "track %s: name its index (--index)", call->words[0]);
	if (call->truncate && !truncate_read(call->truncate, &t.truncate))
		return err_set(e, ERR_USAGE, "--truncate: \"%s\" is none of refuse, delete, query",
			       call->truncate);
	return track_install(call->config, &t, call->print, stdout, e);
}

int cmd_track(const struct call *call, struct err *e)
{
	bool ok = false;

	if (call->word_count == 0 && call->remove)
		ok = err_set(e, ERR_USAGE, "track --remove: name the table");
	else if (call->word_count == 0)
		ok = list(call, e);
	else if (call->remove)
		ok = track_remove(call->config, call->words[0], call->index, call->print, stdout, e);
	else
		ok = install(call, e);
	return ok ? 0 : err_exit_code(e->kind);
}
