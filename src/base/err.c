// SPDX-License-Identifier: MIT
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const struct {
	const char *name;
	int exit_code;
} kinds[] = {
	[ERR_NONE] = { "none", EX_OK },           [ERR_USAGE] = { "usage", EX_USAGE },
	[ERR_CONFIG] = { "config", EX_CONFIG },   [ERR_UNAVAILABLE] = { "unavailable", EX_TEMPFAIL },
	[ERR_REFUSED] = { "refused", EX_NOPERM }, [ERR_DATA] = { "data", EX_DATAERR },
	[ERR_BUG] = { "bug", EX_SOFTWARE },
};

// len is what the sentence would have needed: shows where it was cut.
static void mark_cut(struct err *e, int len)
{
	if (len < 0 || (size_t)len >= sizeof(e->text))
		memcpy(e->text + sizeof(e->text) - 4, "...", 4);
}

bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	if (!e)
		return false;
	// Printed into a copy: the old sentence may be one of the arguments.
	struct err next = { .kind = kind };
	va_list args;
	va_start(args, fmt);
	mark_cut(&next, vsnprintf(next.text, sizeof(next.text), fmt, args));
	va_end(args);
	*e = next;
	return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
	if (!e)
		return false;
	struct err prefix = { .kind = e->kind };
	va_list args;
	va_start(args, fmt);
	mark_cut(&prefix, vsnprintf(prefix.text, sizeof(prefix.text), fmt, args));
	va_end(args);

	char old[sizeof(e->text)];
	memcpy(old, e->text, sizeof(old));
	mark_cut(e, snprintf(e->text, sizeof(e->text), "%s: %s", prefix.text, old));
	return false;
}

int err_exit_code(enum err_kind kind)
{
	return (size_t)kind < array_len(kinds) ? kinds[kind].exit_code : EX_SOFTWARE;
}

const char *err_kind_name(enum err_kind kind)
{
	return (size_t)kind < array_len(kinds) ? kinds[kind].name : "unknown";
}
