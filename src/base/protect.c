// SPDX-License-Identifier: MIT
#include "base/protect.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void protect_memory(void)
{
	const struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };

	// Not dumpable: no core, whatever core_pattern does with it, and no ptrace, /proc/PID/mem or environ for others
	// of our user. The limit says the same to those who only look at limits.
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
		abort(); // neither can fail
}
