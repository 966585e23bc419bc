// SPDX-License-Identifier: MIT
// An error is a kind and a sentence. The kind decides the daemon's reaction and a command's exit code
// (sysexits numbers); the sentence says what, where and what to do. Leaves fill it, the owner logs it once.
#ifndef OUTBOXD_BASE_ERR_H
#define OUTBOXD_BASE_ERR_H

#include "base/attr.h"

#include <stdbool.h>

enum err_kind {
	ERR_NONE,
	ERR_USAGE,       // wrong command line: exit 64
	ERR_CONFIG,      // wrong configuration, or a database that is not prepared: exit 78
	ERR_UNAVAILABLE, // a server is away or refuses for now: exit 75
	ERR_REFUSED,     // a server understood and said no: exit 77
	ERR_DATA,        // data that cannot be used: exit 65
	ERR_BUG,         // cannot happen: exit 70
};

struct err {
	enum err_kind kind;
	char sqlstate[6]; // "" when PostgreSQL gave none
	char text[1024];
};

// Fills *e (which may be NULL) and returns false, so that a failure is `return err_set(e, ...)`.
bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...) printf_like(3, 4);
// Puts "fmt: " before the sentence that is there already; returns false.
bool err_prefix(struct err *e, const char *fmt, ...) printf_like(2, 3);
int err_exit_code(enum err_kind kind);
const char *err_kind_name(enum err_kind kind);

#endif
