// SPDX-License-Identifier: MIT
// Private to http*.c: who we are. Secrets live here, in the header lists of running requests and in libcurl,
// and are overwritten before they are freed where the memory is ours.
#ifndef OUTBOXD_ES_HTTP_AUTH_H
#define OUTBOXD_ES_HTTP_AUTH_H

#include "base/err.h"
#include "credential.h"
#include "es/http.h"

#include <curl/curl.h>

enum auth_kind { AUTH_NONE, AUTH_BASIC, AUTH_API_KEY, AUTH_BEARER, AUTH_AWS };

struct http_auth {
	const struct http_settings *settings;
	enum auth_kind kind;
	struct credential credential;
};

bool http_auth_init(struct http_auth *a, const struct http_settings *s, struct err *e) must_check;
void http_auth_done(struct http_auth *a);

// Sets the credentials of a request and adds its header lines; a file that has changed is read again first.
void http_auth_apply(struct http_auth *a, CURL *easy, struct curl_slist **headers);
// Adds what depends on the body, which is as it goes over the wire.
void http_auth_seal(const struct http_auth *a, const char *body, size_t len, struct curl_slist **headers);
bool http_auth_signs_body(const struct http_auth *a); // the body must be there before the request starts

void http_headers_add(struct curl_slist **headers, const char *line);
void http_headers_free(struct curl_slist *headers); // overwrites first; NULL is fine

#endif
