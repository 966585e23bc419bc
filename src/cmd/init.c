// SPDX-License-Identifier: MIT
#include "cmd/command.h"
#include "pg/schema.h"

#include <stdio.h>

int cmd_init(const struct call *call, struct err *e)
{
	bool ok = call->print ? schema_print(call->config, call->notify, call->role, stdout, e)
			      : schema_init(call->config, call->notify, call->role, stdout, e);

	return ok ? 0 : err_exit_code(e->kind);
}
