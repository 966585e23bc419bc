// SPDX-License-Identifier: MIT
#include "wiping.h"

#include <curl/curl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

// A larger block is an upload buffer: a header in it is at its start, before a piece of at most 16 kB is sent. The rest is
// body, and would cost more to overwrite than the request.
#define WHOLE_BYTES_MAX ((size_t)64 * 1024)
#define START_BYTES ((size_t)16 * 1024)

static void wiping_free(void *block)
{
	size_t size = malloc_usable_size(block); // 0 for NULL

	if (size)
		explicit_bzero(block, size > WHOLE_BYTES_MAX ? START_BYTES : size);
	free(block);
}

static void *wiping_realloc(void *block, size_t size)
{
	size_t had = malloc_usable_size(block);
	void *fresh;

	if (size <= had)
		return block;
	fresh = malloc(size);
	if (!fresh)
		return NULL;
	if (had)
		memcpy(fresh, block, had);
	wiping_free(block);
	return fresh;
}

void wiping_start(void)
{
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup, calloc) !=
	    CURLE_OK)
		abort(); // no memory
}
