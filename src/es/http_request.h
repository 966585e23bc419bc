// SPDX-License-Identifier: MIT
// Private to http*.c: one libcurl easy handle, from its options to its reply. Knows nothing of the loop.
#ifndef OUTBOXD_ES_HTTP_REQUEST_H
#define OUTBOXD_ES_HTTP_REQUEST_H

#include "base/buf.h"
#include "es/gzip.h"
#include "es/http.h"
#include "http_auth.h"
#include "http_tls.h"

#include <curl/curl.h>

struct http_request {
	CURL *easy;
	const struct http_settings *settings;
	struct http_auth *auth;
	struct http_tls *tls;
	struct gzip *gzip; // NULL = bodies go as they are; shared
	struct curl_slist *headers;
	const char *body; // borrowed, or packed.data
	size_t body_len;
	size_t body_read;     // bytes that libcurl has taken
	bool body_streamed;   // through on_read, not through CURLOPT_POSTFIELDS
	int64_t deadline_ms;  // clock_boot_ms; 0 = none
	bool deadline_passed; // and that is why the transfer ended
	bool exposed;         // from here on the server may have acted on it
	int64_t started_us;
	struct buf packed;
	struct buf answer;
	char error[CURL_ERROR_SIZE];
};

// All pointers are borrowed for the life of the request.
void http_request_init(struct http_request *r, const struct http_settings *settings, struct http_auth *auth,
		       struct http_tls *tls, struct gzip *gzip);
void http_request_done(struct http_request *r);

// Prepare the easy handle; after that it may be added to a multi handle.
void http_request_post(struct http_request *r, const char *url, const char *body, size_t len,
		       int64_t deadline_ms, const char *header);
void http_request_get(struct http_request *r, const char *url, int64_t timeout_ms);
void http_request_ask(struct http_request *r, const char *url, const char *method, const char *body,
		      int64_t timeout_ms);

// True when the deadline has passed and part of the body is still here.
bool http_request_expired(const struct http_request *r);
// The reply borrows from the request until its next use.
void http_request_reply(const struct http_request *r, CURLcode result, struct http_reply *ret);
void http_request_reply_expired(const struct http_request *r, struct http_reply *ret);
// Gives up secrets and large buffers until the next use.
void http_request_rest(struct http_request *r);

#endif
