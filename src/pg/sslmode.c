// SPDX-License-Identifier: MIT
#include "pg/sslmode.h"

#include "base/mem.h"
#include "pg/hosts.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

static bool chosen; // by us

bool sslmode_is_local(const char *host)
{
	return host[0] == '\0' || host[0] == '/' || host[0] == '@' || strcmp(host, "localhost") == 0 ||
	       strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static const char *value(const PQconninfoOption *options, const char *keyword)
{
	const PQconninfoOption *o = options;

	while (o && o->keyword && strcmp(o->keyword, keyword) != 0)
		o++;
	return o && o->keyword ? o->val : NULL;
}

// The elements of a list: "a,,b" has three, and the second is the default, a socket.
static bool all_local(const char *list)
{
	auto_free char *copy = mem_strdup(list);
	char *rest = copy, *host;

	while ((host = strsep(&rest, ","))) {
		if (!sslmode_is_local(host))
			return false;
	}
	return true;
}

// Where the connection goes: an address wins over a name, what the string says over environment and service file.
static bool stays_here(const PQconninfoOption *said, const PQconninfoOption *defaults)
{
	const char *address = value(said, "hostaddr"), *host = value(said, "host");

	if (!address)
		address = value(defaults, "hostaddr");
	if (!host)
		host = value(defaults, "host");
	if (address && *address)
		return all_local(address);
	return !host || all_local(host);
}

static void set(const char *name, const char *text)
{
	if (setenv(name, text, 1) != 0)
		abort(); // no memory
}

void sslmode_choose(const char *dsn)
{
	PQconninfoOption *said = PQconninfoParse(dsn, NULL); // NULL: libpq will say what is wrong with it

	if (said && !value(said, "sslmode") && !getenv("PGSSLMODE")) {
		if (value(said, "service"))
			set("PGSERVICE", value(said, "service")); // else its host is not among the defaults
		PQconninfoOption *defaults = PQconndefaults();

		chosen = !stays_here(said, defaults);
		if (chosen)
			set("PGSSLMODE", "verify-full");
		hosts_free_options(defaults);
	}
	hosts_free_options(said);
}

bool sslmode_is_at_fault(const char *libpq_text)
{
	return strstr(libpq_text, "SSL") || strstr(libpq_text, "certificate");
}

const char *sslmode_hint(const char *libpq_text)
{
	if (!chosen || !sslmode_is_at_fault(libpq_text))
		return "";
	return "; a server on another host is verified by default (sslmode=verify-full): name the certificate of its CA "
	       "by sslrootcert=FILE in postgres.dsn, or write there the sslmode that shall do";
}
