// SPDX-License-Identifier: MIT
#include "pg/dsn.h"

#include "pg/hosts.h"

#include <libpq-fe.h>
#include <string.h>

// A host that holds an @ is the rest of a password; at its beginning it is a socket in the abstract name space.
static bool has_stray_at(const PQconninfoOption *options)
{
	for (const PQconninfoOption *o = options; o->keyword; o++) {
		if (strcmp(o->keyword, "host") == 0 && o->val && *o->val && strchr(o->val + 1, '@'))
			return true;
	}
	return false;
}

bool dsn_check(const char *dsn, struct err *e)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	bool stray = options && has_stray_at(options), ok = options && !stray;

	hosts_free_options(options);
	if (ok)
		return true;
	return err_set(
		e, ERR_CONFIG,
		"postgres.dsn is not understood%s: it is name=value ... (a value with spaces in '...', with \\' for ' "
		"in it), or postgresql://user:password@host:port/database (there %% is written %%25, @ %%40, : %%3A, / %%2F)",
		stray ? ", its host has an @ in it" : "");
}
