// SPDX-License-Identifier: MIT
// Private to http*.c: who we are. Secrets live here, in the header lists of running requests and in libcurl,
// and are overwritten before they are freed where the memory is ours.
#ifndef OUTBOXD_ES_HTTP_AUTH_H
#define OUTBOXD_ES_HTTP_AUTH_H

#include "base/err.h"
#include "es/http.h"

#include <curl/curl.h>
#include <sys/stat.h>

struct http_auth {
	const struct http_settings *settings;
	char *secret;              // API key or password; NULL = none
	struct timespec read_time; // of the secret file when it was read
	bool suspect;              // a 401 came
};

// Reads the secret file. With aws_region the keys come from the environment (AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), each time they are used.
bool http_auth_init(struct http_auth *a, const struct http_settings *settings, struct err *e) must_check;
void http_auth_done(struct http_auth *a);

void http_auth_suspect(struct http_auth *a);
// Sets the credentials of a request and adds its header lines; reads a secret that a 401 made suspect again if its
// file has changed since.
void http_auth_apply(struct http_auth *a, CURL *easy, struct curl_slist **headers);
bool http_auth_signs_body(const struct http_auth *a); // the body must be there before the request starts

void http_headers_add(struct curl_slist **headers, const char *line);
void http_headers_free(struct curl_slist *headers); // overwrites first; NULL is fine

#endif
