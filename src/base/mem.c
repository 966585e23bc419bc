// SPDX-License-Identifier: MIT
#include "base/mem.h"

#include <string.h>
#include <unistd.h>

// No log line: logging allocates.
static _Noreturn void out_of_memory(void)
{
	static const char text[] = "outboxd: out of memory\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)written;
	abort();
}

void *mem_calloc(size_t count, size_t size)
{
	// One byte at least: calloc(0) may return NULL, which would look like a failure.
	void *p = count && size ? calloc(count, size) : calloc(1, 1);
	if (!p)
		out_of_memory();
	return p;
}

void *mem_realloc(void *old, size_t count, size_t size)
{
	void *p = count && size ? reallocarray(old, count, size) : realloc(old, 1);
	if (!p)
		out_of_memory();
	return p;
}

char *mem_strdup(const char *text)
{
	return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
	char *copy = strndup(text, len);
	if (!copy)
		out_of_memory();
	return copy;
}
