// SPDX-License-Identifier: MIT
// Plain blocking HTTP for the operator's commands: the same client as the daemon's, in a loop of its own.
#ifndef OUTBOXD_ES_HTTP_SYNC_H
#define OUTBOXD_ES_HTTP_SYNC_H

#include "es/http.h"

struct http_sync;

struct http_sync *http_sync_new(const struct http_settings *settings, struct err *e) must_check;
void http_sync_free(struct http_sync *s); // NULL is fine

// Sends one request and waits for its end, timeout_ms at most. body is JSON, NULL = none. The reply and its texts
// are borrowed until the next request; there is no location in it.
const struct http_reply *http_sync_ask(struct http_sync *s, const char *method, const char *path,
				       const char *body, int64_t timeout_ms);
// before + the name, percent-encoded as one part of a path, + after. The caller owns the text.
char *http_path(const char *before, const char *name, const char *after);

#endif
