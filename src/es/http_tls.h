// SPDX-License-Identifier: MIT
// Private to http*.c: whom we trust and who we are in TLS. Certificate and host name are always verified.
#ifndef OUTBOXD_ES_HTTP_TLS_H
#define OUTBOXD_ES_HTTP_TLS_H

#include "base/err.h"
#include "es/http.h"

#include <curl/curl.h>

struct http_tls {
	const struct http_settings *settings;
	unsigned char fingerprint[32]; // with settings->fingerprint
	bool pin_missed;               // the last handshake showed no certificate with it
};

bool http_tls_init(struct http_tls *t, const struct http_settings *settings, struct err *e) must_check;
// For the life of the handle; *t must outlive it.
void http_tls_apply(struct http_tls *t, CURL *easy);

#endif
