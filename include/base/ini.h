// SPDX-License-Identifier: MIT
// The strict reader of the configuration file:
//   # comment        (also ;  - only at the start of a line, so values may hold both signs)
//   [section]
//   key = value      (white space around key and value is cut; the value goes to the end of the line)
//     more value     (a line that starts with white space continues the value above, joined by one newline)
// Anything else is an error that names the line. No quotes, no escapes, no includes.
#ifndef OUTBOXD_BASE_INI_H
#define OUTBOXD_BASE_INI_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct ini_entry {
	const char *section;
	const char *key;
	const char *value; // all three borrowed for the call, NUL-terminated
	int line;          // where the key stands, from 1
};
// Returns false (with *e filled, without the line: the reader adds it) to stop.
typedef bool ini_callback(void *arg, const struct ini_entry *entry, struct err *e);

// Calls back for each entry in order. name is used in messages ("outboxd.conf:12: ...").
// Refuses NUL bytes, text without a section, an empty key, an unclosed section.
bool ini_parse(const char *name, const char *text, size_t len, ini_callback *cb, void *arg,
	       struct err *e) must_check;

#endif
