// SPDX-License-Identifier: MIT
#include "core/guard.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define SCHEME "Bearer "

const char *guard_bearer(const char *authorization)
{
	const char *token = authorization + strlen(SCHEME);

	if (strncasecmp(authorization, SCHEME, strlen(SCHEME)) != 0)
		return NULL;
	token += strspn(token, " ");
	return *token ? token : NULL;
}

bool guard_same(const char *given, const char *wanted)
{
	size_t n = strlen(given), m = strlen(wanted);
	volatile unsigned char differ = n != m;

	for (size_t i = 0; i < n; i++)
		differ |= (unsigned char)(given[i] ^ wanted[m ? i % m : 0]);
	return !differ;
}

bool guard_is_our_host(const char *host)
{
	bool brackets = *host == '[';
	const char *from = host + brackets;
	size_t len = strcspn(from, brackets ? "]" : ":");
	const char *rest = from + len;
	char name[INET6_ADDRSTRLEN] = { 0 };
	struct in6_addr address;

	if (!*host)
		return true;
	if (len >= sizeof(name) || (brackets && *rest++ != ']'))
		return false;
	if (*rest == ':')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (*rest)
		return false;
	memcpy(name, from, len);
	if (brackets)
		return inet_pton(AF_INET6, name, &address) == 1;
	return strcasecmp(name, "localhost") == 0 || strcasecmp(name, "localhost.") == 0 ||
	       inet_pton(AF_INET, name, &address) == 1;
}

bool guard_is_foreign_origin(const char *origin, const char *host)
{
	const char *name = strstr(origin, "://");

	return *origin && (!name || strcasecmp(name + 3, host) != 0);
}

static bool unknown(const char *const *taken, struct err *e)
{
	auto_buf names = { 0 };

	if (!*taken)
		return err_set(e, ERR_USAGE, "this takes no parameters");
	buf_init(&names, 256);
	for (const char *const *each = taken; *each; each++)
		buf_addf(&names, "%s%s", each == taken ? "" : ", ", *each);
	return err_set(e, ERR_USAGE, "a parameter that is none: this takes %s", buf_str(&names));
}

bool guard_parameter(const char *const *taken, struct guard_text name, struct guard_text value,
		     unsigned *seen, struct err *e)
{
	unsigned i = 0;

	while (taken[i] && (strlen(taken[i]) != name.n || memcmp(taken[i], name.p, name.n) != 0))
		i++;
	if (!taken[i])
		return unknown(taken, e);
	if (*seen & (1u << i))
		return err_set(e, ERR_USAGE, "%s is given twice: say it once", taken[i]);
	if (!value.p || value.n == 0 || memchr(value.p, '\0', value.n))
		return err_set(e, ERR_USAGE, "%s wants a value: %s=...", taken[i], taken[i]);
	*seen |= 1u << i;
	return true;
}
