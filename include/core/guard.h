// SPDX-License-Identifier: MIT
// Who may ask over HTTP, and what a query may say: decisions over texts that anybody may send.
#ifndef OUTBOXD_CORE_GUARD_H
#define OUTBOXD_CORE_GUARD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

// The token of an Authorization header, borrowed; NULL = it has none.
const char *guard_bearer(const char *authorization);
// Takes as long for a wrong text as for the right one.
bool guard_same(const char *given, const char *wanted);

// A page of somebody else that had its name point at us must not read us: its browser sends that name as Host. Ours are
// addresses and localhost, with or without a port; "" = none was sent, which no browser does.
bool guard_is_our_host(const char *host);
// The Origin of a page that did not come from this Host. "" = none was sent.
bool guard_is_foreign_origin(const char *origin, const char *host);

// A parameter of a query, of those that the path takes (NULL at their end). It must be one of them, with a value, once: *seen
// is 0 before the first one. value: NULL = no "=" followed.
struct guard_text {
	const char *p;
	size_t n;
};
bool guard_parameter(const char *const *taken, struct guard_text name, struct guard_text value,
		     unsigned *seen, struct err *e) must_check;

#endif
