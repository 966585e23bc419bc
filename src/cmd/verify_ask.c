// SPDX-License-Identifier: MIT
// How verify asks Elasticsearch, which may be away for a while.
#include "cmd/verify.h"

#include "base/clock.h"
#include "cmd/interrupt.h"
#include "es/bulk.h"
#include "es/http_sync.h"

#include <poll.h>

#define ASK_MS 30000
#define AWAY_MS 60000
#define PAUSE_MS 500

// Not a wrong certificate, which no time will mend.
static bool is_away(const struct http_reply *reply)
{
	if (reply->fault != HTTP_FINE)
		return reply->fault != HTTP_TOO_LARGE && reply->fault != HTTP_TLS;
	return reply->status == 429 || reply->status >= 500;
}

bool verify_ask_within(struct http_sync *http, const char *method, const char *path, const char *body,
		       int64_t timeout_ms, const struct http_reply **ret, struct err *e)
{
	const struct http_reply *reply = http_sync_ask(http, method, path, body, timeout_ms);
	struct bulk_error why = { 0 };

	*ret = reply;
	if (reply->fault == HTTP_TOO_LARGE)
		return err_set(e, ERR_DATA, "the answer of Elasticsearch is too large");
	if (reply->fault != HTTP_FINE)
		return err_set(e, reply->fault == HTTP_TLS ? ERR_CONFIG : ERR_UNAVAILABLE,
			       "Elasticsearch: %s (%s)", http_fault_name(reply->fault), reply->fault_text);
	if (reply->status / 100 == 2)
		return true;
	bulk_error_read(reply->body, reply->len, &why);
	return err_set(e, is_away(reply) ? ERR_UNAVAILABLE : ERR_REFUSED, "Elasticsearch: HTTP %d %s: %s",
		       reply->status, why.type, why.reason);
}

bool verify_ask_once(struct http_sync *http, const char *method, const char *path, const char *body,
		     const struct http_reply **ret, struct err *e)
{
	return verify_ask_within(http, method, path, body, ASK_MS, ret, e);
}

bool verify_ask(struct http_sync *http, const char *method, const char *path, const char *body,
		const struct http_reply **ret, struct err *e)
{
	int64_t until_ms = clock_boot_ms() + AWAY_MS;

	while (!verify_ask_once(http, method, path, body, ret, e)) {
		if (!is_away(*ret) || clock_boot_ms() >= until_ms || interrupt_came())
			return false;
		*e = (struct err){ 0 };
		(void)poll(NULL, 0, PAUSE_MS);
	}
	return true;
}

bool verify_comes_again(int64_t *away_ms, struct err *e)
{
	int64_t now_ms = clock_boot_ms();

	if (e->kind != ERR_UNAVAILABLE)
		return false;
	if (*away_ms == 0)
		*away_ms = now_ms;
	if (now_ms - *away_ms > AWAY_MS)
		return false;
	*e = (struct err){ 0 };
	(void)poll(NULL, 0, PAUSE_MS);
	return true;
}
