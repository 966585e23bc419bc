// SPDX-License-Identifier: MIT
#include "cmd/command.h"
#include "pg/schema.h"

#include <stdio.h>

int cmd_init(const struct call *call, struct err *e)
{
	const struct schema_wants wants = {
		.notify = call->notify,
		.partitioned = call->partitioned,
		.partition_rows = call->partition_rows,
		.role = call->role,
	};
	bool ok;

	if (call->partition_rows && !call->partitioned)
		ok = err_set(e, ERR_USAGE, "--partition-rows belongs to --partitioned");
	else
		ok = call->print ? schema_print(call->config, &wants, stdout, e)
				 : schema_init(call->config, &wants, stdout, e);

	return ok ? 0 : err_exit_code(e->kind);
}
