// SPDX-License-Identifier: MIT
// Invariants: len <= max; data is NULL or holds cap bytes, len < cap <= max + 1, and data[len] is NUL.
#include "base/buf.h"

#include "base/mem.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_CAP = 64 };

void buf_init(struct buf *b, size_t max)
{
	assert(max < SIZE_MAX / 2); // so that max + 1 and 2 * cap cannot overflow
	*b = (struct buf){ .max = max };
}

void buf_done(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

void buf_wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_done(b);
}

void buf_clear(struct buf *b)
{
	buf_truncate(b, 0);
	b->full = false;
}

void buf_trim(struct buf *b, size_t cap)
{
	buf_clear(b);
	if (b->cap <= cap)
		return;
	if (!cap) {
		buf_done(b);
		return;
	}
	b->data = mem_realloc(b->data, cap, 1);
	b->cap = cap;
}

void buf_truncate(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->len = len;
	if (b->data)
		b->data[len] = '\0';
}

bool buf_reserve(struct buf *b, size_t extra)
{
	if (b->full || extra > b->max - b->len) {
		b->full = true;
		return false;
	}
	size_t need = b->len + extra + 1;
	if (need <= b->cap)
		return true;
	size_t cap = b->cap ? 2 * b->cap : FIRST_CAP;
	if (cap < need)
		cap = need;
	if (cap > b->max + 1)
		cap = b->max + 1;
	b->data = mem_realloc(b->data, cap, 1);
	b->data[b->len] = '\0';
	b->cap = cap;
	return true;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	if (!len || !buf_reserve(b, len))
		return;
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	buf_vaddf(b, fmt, args);
	va_end(args);
}

// Measures first and prints second: printing straight into what room there is would destroy the rule that a
// refused addition changes nothing.
void buf_vaddf(struct buf *b, const char *fmt, va_list args)
{
	va_list again;
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);
	if (len < 0) // longer than INT_MAX: longer than any of our maxima
		b->full = true;
	else if (buf_reserve(b, (size_t)len))
		b->len += (size_t)vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
	va_end(again);
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
	char *text = b->data ? b->data : mem_strdup("");
	buf_init(b, b->max);
	return text;
}
