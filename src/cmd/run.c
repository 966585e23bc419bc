// SPDX-License-Identifier: MIT
#include "cmd/command.h"
#include "cmd/progress.h"
#include "pg/overview.h"
#include "run/relay.h"

static void show(void *arg, int64_t done)
{
	progress_show(arg, done);
}

// Somebody looks at the terminal: a bar instead of a line in the log every ten seconds.
static int run_watched(const struct call *call, struct err *e)
{
	struct err ignored = { 0 }; // a server that is away is the relay's matter
	struct desk *d = desk_open(call->config, &ignored);
	struct progress p;
	const struct relay_watcher watcher = { .show = show, .arg = &p };
	int code;

	progress_start(&p, "deliver", d ? overview_pending(d) : -1);
	desk_close(d);
	code = relay_run(call->config, call->once, call->version, &watcher, e);
	progress_end(&p);
	return code;
}

int cmd_run(const struct call *call, struct err *e)
{
	if (call->once && progress_on_terminal())
		return run_watched(call, e);
	return relay_run(call->config, call->once, call->version, NULL, e);
}
