// SPDX-License-Identifier: MIT
// HTTP to one Elasticsearch: libcurl's multi interface inside the libev loop. No redirects are followed, answers
// are capped, certificates are verified.
#ifndef OUTBOXD_ES_HTTP_H
#define OUTBOXD_ES_HTTP_H

#include "base/buf.h"
#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct http;
struct http_call;

#define HTTP_ANSWER_MAX ((size_t)64 * 1024 * 1024) // of the relay's own requests

// All texts are borrowed for the life of the http object; "" = not set. Secret files are read at http_new, and again
// before a request when they have changed.
struct http_settings {
	const char *url; // no user:password
	const char *username;
	const char *password_file;
	const char *api_key_file;
	const char *bearer_file;
	const char *ca_file;
	const char *fingerprint;
	const char *cert_file;
	const char *key_file;
	const char *aws_region;
	const char *aws_credentials_file; // "" = the environment
	bool aws_serverless;              // the service is aoss, not es
	bool gzip;
	bool direct;        // whatever proxy the environment names
	int64_t timeout_ms; // whole request
	size_t answer_max;  // bytes of an answer
	char user_agent[64];
};
// What the configuration says; the texts are its own. version is that of outboxd.
struct http_settings http_settings_of(const struct config *c, const char *version);

enum http_fault {
	HTTP_FINE,
	HTTP_UNREACHABLE, // name, refused, no route
	HTTP_BROKEN,      // reset, empty, cut or too slow an answer: the request may have been applied
	HTTP_TIMED_OUT,   // may have been applied
	HTTP_TLS,         // certificate or protocol
	HTTP_TOO_LARGE,   // the answer passed answer_max
};
const char *http_fault_name(enum http_fault fault);

// Borrowed for the callback; the texts also end where it starts the next request of the same call.
struct http_reply {
	enum http_fault fault;
	const char *fault_text; // "" when fine; no URL credentials in it
	int status;             // 0 with a fault, unless the header had come
	const char *body;       // NUL-terminated
	size_t len;
	int64_t retry_after_ms; // -1 = none; an HTTP date is turned into a wait
	const char *location;   // of a redirect, ""
	int64_t took_us;
	bool may_be_applied; // false only when not a byte of the request can have been acted on
};
// Called from the loop, never from within http_call_post/get. May start the next request of the same call or
// cancel another, may not free its own call.
typedef void http_callback(void *arg, const struct http_reply *reply);

struct http *http_new(struct ev_loop *loop, const struct http_settings *settings, struct err *e) must_check;
void http_free(struct http *h); // after all its calls are freed; NULL is fine

// A call is one request at a time; the connection is kept between them.
struct http_call *http_call_new(struct http *h, http_callback *cb, void *arg);
void http_call_free(struct http_call *c); // cancels; NULL is fine

// body is borrowed until the callback or http_call_cancel. deadline_boot_ms (clock_boot_ms, 0 = none): no byte of
// the request is handed to the network after that moment, also when the process was frozen meanwhile; the
// call then ends with HTTP_TIMED_OUT. headers may hold one extra header line ("X-Opaque-Id: ...") or be NULL.
void http_call_post(struct http_call *c, const char *path, const char *body, size_t len,
		    int64_t deadline_boot_ms, const char *header);
// A GET for probing; timeout_ms at most.
void http_call_get(struct http_call *c, const char *path, int64_t timeout_ms);
// Any other request, for commands: a JSON body or, with NULL, none. The body is borrowed like that of a post.
void http_call_ask(struct http_call *c, const char *method, const char *path, const char *body,
		   int64_t timeout_ms);
void http_call_cancel(struct http_call *c); // no callback will come; harmless when idle
bool http_call_busy(const struct http_call *c);

void http_add_version(struct buf *out); // "libcurl 7.88.1 (OpenSSL/3.0.17)"

#endif
