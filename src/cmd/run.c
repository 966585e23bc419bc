// SPDX-License-Identifier: MIT
#include "base/log.h"
#include "cmd/command.h"
#include "run/relay.h"

int cmd_run(const struct call *call, struct err *e)
{
	return relay_run(call->config, call->once, call->version, e);
}
