// SPDX-License-Identifier: MIT
// What anybody may send over HTTP: Host, Origin, Authorization and the parameters of a query, each against a plain
// reading of the rule.
// Fields: host, origin, authorization, token of the file, then name, value, name, value, ... A value "\N" is one without "=".
#include "core/guard.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <strings.h>

#define PARAMETERS_MAX 16

static bool is_number(const char *text)
{
	return text[strspn(text, "0123456789")] == '\0';
}

// Every way in which a name may be ours is written out, and the name compared with it.
static bool host_plainly(const char *host)
{
	char *name = feed_copy(host, strlen(host));
	char *colon = strrchr(name, ':');
	size_t len;
	struct in6_addr address;
	bool ours;

	if (colon && is_number(colon + 1) && (name[0] != '[' || (colon > name && colon[-1] == ']')))
		*colon = '\0';
	len = strlen(name);
	if (name[0] == '[' && len > 1 && name[len - 1] == ']') {
		name[len - 1] = '\0';
		ours = inet_pton(AF_INET6, name + 1, &address) == 1;
	} else {
		ours = strcasecmp(name, "localhost") == 0 || strcasecmp(name, "localhost.") == 0 ||
		       inet_pton(AF_INET, name, &address) == 1;
	}
	free(name);
	return ours || !*host;
}

static void check_origin(const char *origin, const char *host)
{
	size_t len = strlen(host);
	char *own = malloc(len + 8);

	check(own != NULL);
	memcpy(own, "http://", 7);
	memcpy(own + 7, host, len + 1);
	check(!guard_is_foreign_origin(own, host) && !guard_is_foreign_origin("", host));
	check(guard_is_foreign_origin(origin, host) || !*origin || strlen(origin) >= len + 3);
	check(guard_is_foreign_origin("null", host));
	free(own);
}

static void check_token(const char *authorization, const char *token)
{
	const char *given = guard_bearer(authorization);

	check(!given || (*given && *given != ' ' && strncasecmp(authorization, "bearer ", 7) == 0));
	check(!given || strcmp(given, authorization + strlen(authorization) - strlen(given)) == 0);
	check(guard_same(token, token));
	check(guard_same(given ? given : "", token) == (strcmp(given ? given : "", token) == 0));
	check(guard_same(token, given ? given : "") == (strcmp(given ? given : "", token) == 0));
}

static void check_parameters(struct feed *feed)
{
	static const char *const taken[] = { "id", "all", NULL }, *const nothing[] = { NULL };
	unsigned seen = 0, times[2] = { 0 };

	for (int i = 0; feed->n && i < PARAMETERS_MAX; i++) {
		size_t name_len, value_len;
		char *name = feed_field(feed, &name_len), *value = feed_field(feed, &value_len);
		bool none = strcmp(value, "\\N") == 0, ok;
		struct guard_text key = { name, name_len }, text = { none ? NULL : value, value_len };
		struct err e = { .kind = ERR_NONE };
		int which = name_len == 2 && memcmp(name, "id", 2) == 0    ? 0
			    : name_len == 3 && memcmp(name, "all", 3) == 0 ? 1
									   : -1;

		ok = guard_parameter(taken, key, text, &seen, &e);
		check(ok ==
		      (which >= 0 && !times[which] && !none && value_len > 0 && strlen(value) == value_len));
		check(ok || (e.kind == ERR_USAGE && *e.text));
		check(!guard_parameter(nothing, key, text, &(unsigned){ 0 }, &e) && *e.text);
		if (ok)
			times[which]++;
		free(name);
		free(value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed feed = { data, size };
	size_t len;
	char *host = feed_field(&feed, &len), *origin = feed_field(&feed, &len);
	char *authorization = feed_field(&feed, &len), *token = feed_field(&feed, &len);

	check(guard_is_our_host(host) == host_plainly(host));
	check_origin(origin, host);
	check_token(authorization, token);
	check_parameters(&feed);
	free(host);
	free(origin);
	free(authorization);
	free(token);
	return 0;
}
