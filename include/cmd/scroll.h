// SPDX-License-Identifier: MIT
// The pages of a search that is scrolled, after its first.
#ifndef OUTBOXD_CMD_SCROLL_H
#define OUTBOXD_CMD_SCROLL_H

#include "base/err.h"
#include "es/http_sync.h"

#include <stdbool.h>

#define SCROLL_KEEP "10m" // between two pages

// As verify_ask_once: a page that was asked for twice could be the next one, and what is lost then would be missed without a word.
bool scroll_next(struct http_sync *http, const char *id, const struct http_reply **ret,
		 struct err *e) must_check;
void scroll_end(struct http_sync *http, const char *id); // id NULL is fine

#endif
