// SPDX-License-Identifier: MIT
// Allocation that never returns NULL: when memory is gone the process aborts, and kill -9 is a tested
// path. Everything that a peer can make grow has a limit of its own before it gets here (see buf.h).
#ifndef OUTBOXD_BASE_MEM_H
#define OUTBOXD_BASE_MEM_H

#include "base/attr.h"

#include <stddef.h>
#include <stdlib.h>

void *mem_calloc(size_t count, size_t size) returns_nonnull_; // zeroed
void *mem_realloc(void *old, size_t count, size_t size) returns_nonnull_;
char *mem_strdup(const char *text) returns_nonnull_;
char *mem_strndup(const char *text, size_t len) returns_nonnull_;

// Scope-owned heap pointer: `auto_free char *s = mem_strdup(...)`.
static inline void mem_free_at(void *ptr_to_ptr)
{
	free(*(void **)ptr_to_ptr);
}
#define auto_free __attribute__((cleanup(mem_free_at)))

#endif
