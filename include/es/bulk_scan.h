// SPDX-License-Identifier: MIT
// The fast way through an answer without errors. Such an answer is nearly all that a relay ever reads, and
// building a JSON tree of it costs more than everything else that is done for its events.
#ifndef OUTBOXD_ES_BULK_SCAN_H
#define OUTBOXD_ES_BULK_SCAN_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

// True = the text is complete, valid JSON; it has `errors` false and `items` with exactly `expected` objects
// of one member each, whose `status` is 200 to 299 and which have no `error`; statuses[i] is the status less
// 200. False = anything else, or merely something that the scanner does not know: ask a real parser.
bool bulk_scan_clean(const char *text, size_t len, size_t expected, unsigned char *statuses) must_check;

#endif
