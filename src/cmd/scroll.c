// SPDX-License-Identifier: MIT
#include "cmd/scroll.h"

#include "base/buf.h"
#include "cmd/verify.h"

#define ID_MAX ((size_t)1024 * 1024)

bool scroll_next(struct http_sync *http, const char *id, const struct http_reply **ret, struct err *e)
{
	auto_buf body = { 0 };

	buf_init(&body, ID_MAX);
	buf_addf(&body, "{\"scroll\":\"" SCROLL_KEEP "\",\"scroll_id\":\"%s\"}", id);
	return verify_ask_once(http, "POST", "/_search/scroll", buf_str(&body), ret, e);
}

void scroll_end(struct http_sync *http, const char *id)
{
	const struct http_reply *reply;
	struct err ignored = { 0 };
	auto_buf body = { 0 };

	if (!id)
		return;
	buf_init(&body, ID_MAX);
	buf_addf(&body, "{\"scroll_id\":\"%s\"}", id);
	if (!verify_ask_once(http, "DELETE", "/_search/scroll", buf_str(&body), &reply, &ignored))
		ignored = (struct err){ 0 }; // it ends by itself
}
