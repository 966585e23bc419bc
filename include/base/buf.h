// SPDX-License-Identifier: MIT
// A growable byte buffer with a hard maximum given at birth. An addition that would pass the maximum
// changes nothing and latches `full`; later additions are ignored, so a builder checks once at its end.
// The content is always followed by a NUL byte that is not counted in `len` (data may be NULL while empty:
// use buf_str).
#ifndef OUTBOXD_BASE_BUF_H
#define OUTBOXD_BASE_BUF_H

#include "base/attr.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max;
	bool full;
};

void buf_init(struct buf *b, size_t max); // allocates nothing
void buf_done(struct buf *b);             // frees; the buffer may be used again
void buf_wipe(struct buf *b);  // overwrites, then frees; reserve first: growing leaves copies behind
void buf_clear(struct buf *b); // keeps the memory, forgets content and `full`
void buf_trim(struct buf *b, size_t cap); // buf_clear, and gives memory above cap bytes back
void buf_truncate(struct buf *b, size_t len);
void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *text);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
void buf_vaddf(struct buf *b, const char *fmt, va_list args) printf_like(2, 0);
bool buf_reserve(struct buf *b, size_t extra); // room for extra bytes; false (and `full`) past the maximum
const char *buf_str(const struct buf *b);      // borrowed, NUL-terminated, "" when empty
char *buf_take(struct buf *b); // the caller owns the text (never NULL); the buffer is empty again

static inline void buf_done_at(struct buf *b)
{
	buf_done(b);
}
#define auto_buf __attribute__((cleanup(buf_done_at))) struct buf

#endif
