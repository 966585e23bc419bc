// SPDX-License-Identifier: MIT
#include "pg/dsn.h"

#include "pg/hosts.h"

#include <libpq-fe.h>
#include <string.h>

// A password with a character that a URL must not have is cut, and its rest is read as host, port or database. (At its
// beginning an @ is a socket in the abstract name space.)
static bool has_piece_of_a_password(const PQconninfoOption *options)
{
	for (const PQconninfoOption *o = options; o->keyword; o++) {
		const char *value = o->val && *o->val ? o->val : NULL;

		if (!value)
			continue;
		if (strcmp(o->keyword, "host") == 0 && strchr(value + 1, '@'))
			return true;
		if (strcmp(o->keyword, "dbname") == 0 && strchr(value, '@'))
			return true;
		if (strcmp(o->keyword, "port") == 0 && value[strspn(value, "0123456789,")])
			return true;
	}
	return false;
}

bool dsn_check(const char *dsn, struct err *e)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	bool ok = options && !has_piece_of_a_password(options);

	hosts_free_options(options);
	if (ok || (!strchr(dsn, '=') && !strstr(dsn, "://"))) // only a database's name
		return true;
	return err_set(
		e, ERR_CONFIG, "%s",
		"postgres.dsn is not understood: it is name=value ... (a value with spaces in '...', with \\' for ' "
		"in it), or postgresql://user:password@host:port/database (there % is written %25, @ %40, : %3A, / %2F)");
}
