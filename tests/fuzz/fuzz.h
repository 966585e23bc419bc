// SPDX-License-Identifier: MIT
// What the targets share: a check that ends the run, and a reader that makes fields of the input. Fields end at the
// byte 0x1F, so that a seed is written by hand and a mutation of one field leaves the others.
#ifndef OUTBOXD_TESTS_FUZZ_H
#define OUTBOXD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The entry point that libFuzzer and replay.c call; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(condition)                                                                              \
	do {                                                                                          \
		if (!(condition)) {                                                                   \
			fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                      \
		}                                                                                     \
	} while (0)

struct feed {
	const uint8_t *p;
	size_t n;
};

static inline char *feed_copy(const void *p, size_t n)
{
	char *copy = malloc(n + 1);

	check(copy != NULL);
	memcpy(copy, n ? p : "", n);
	copy[n] = '\0';
	return copy;
}

// The next field as a block of its own, so that the sanitizer sees a step past its end. The caller frees it.
static inline char *feed_field(struct feed *f, size_t *ret_len)
{
	const uint8_t *end = f->n ? memchr(f->p, 0x1F, f->n) : NULL;
	size_t n = end ? (size_t)(end - f->p) : f->n;
	char *copy = feed_copy(f->p, n);

	f->p += n + (end != NULL);
	f->n -= n + (end != NULL);
	*ret_len = n;
	return copy;
}

// The rest of the input as a field.
static inline char *feed_rest(struct feed *f, size_t *ret_len)
{
	*ret_len = f->n;
	return feed_copy(f->p, f->n);
}

#endif
