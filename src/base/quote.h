// SPDX-License-Identifier: MIT
// Text of any origin as a JSON string, for logs and for printing the configuration.
#ifndef OUTBOXD_BASE_QUOTE_H
#define OUTBOXD_BASE_QUOTE_H

#include "base/buf.h"

// Length of the valid UTF-8 sequence at the start of text (len > 0), or 0.
size_t utf8_len(const char *text, size_t len);

// `"` `\` and control characters (C1 too: some terminals obey them) are escaped, invalid bytes replaced by
// U+FFFD: the result is valid JSON and safe to show, whatever the bytes were.
void quote_add_bare(struct buf *b, const char *text, size_t len);
void quote_add(struct buf *b, const char *text, size_t len); // with the quotation marks

#endif
