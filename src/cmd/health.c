// SPDX-License-Identifier: MIT
// `outboxd health`: what HEALTHCHECK and the probes of Kubernetes run, since the image has no curl and no shell. It asks over
// HTTP like anybody else, so that a loop that hangs is found.
#include "cmd/command.h"
#include "es/http_sync.h"
#include "run/listen.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 2000
#define ANSWER_MAX ((size_t)16 * 1024)

// The lines of the answer as one: there may be several reasons, and libpq's sentences have breaks of their own.
static void join_lines(const char *answer, char *ret_text, size_t size)
{
	size_t n = 0;

	for (; *answer && n + 3 < size; answer++) {
		bool gap = iscntrl((unsigned char)*answer) || *answer == ' ';

		if (*answer == '\n' && n && answer[1]) {
			ret_text[n++] = ';';
			ret_text[n++] = ' ';
		} else if (!gap) {
			ret_text[n++] = *answer;
		} else if (n && ret_text[n - 1] != ' ') {
			ret_text[n++] = ' ';
		}
	}
	while (n && ret_text[n - 1] == ' ')
		n--;
	ret_text[n] = '\0';
}

static bool judge(const struct http_reply *reply, const char *url, int64_t timeout_ms, struct err *e)
{
	char reasons[sizeof(e->text) / 2];

	if (reply->fault == HTTP_TIMED_OUT)
		return err_set(e, ERR_UNAVAILABLE, "no answer from %s within %.1f s: the relay hangs", url,
			       (double)timeout_ms / 1000.0);
	if (reply->fault == HTTP_UNREACHABLE)
		return err_set(e, ERR_UNAVAILABLE,
			       "nothing listens at %s: the relay does not run, or with another admin.listen",
			       url);
	if (reply->fault != HTTP_FINE)
		return err_set(e, ERR_UNAVAILABLE, "no answer from %s: %s", url, reply->fault_text);
	if (reply->status == 200)
		return true;
	join_lines(reply->body, reasons, sizeof(reasons));
	if (reply->status == 503)
		return err_set(e, ERR_UNAVAILABLE, "not ready: %s", reasons);
	return err_set(e, ERR_UNAVAILABLE,
		       "%s answers with HTTP %d, which outboxd never does: see who listens there", url,
		       reply->status);
}

int cmd_health(const struct call *call, struct err *e)
{
	int64_t timeout_ms = call->timeout_ms ? call->timeout_ms : TIMEOUT_MS;
	const char *path = call->ready ? "/readyz" : "/healthz";
	char base[160], url[sizeof(base) + 16];
	struct http_settings settings = {
		.url = base, .direct = true, .timeout_ms = timeout_ms, .answer_max = ANSWER_MAX
	};
	struct http_sync *http;
	bool ok;

	if (strcmp(call->config->admin_listen, "off") == 0)
		return err_set(e, ERR_CONFIG,
			       "admin.listen is off, so nobody can be asked: set it, for example to 127.0.0.1:9465"),
		       err_exit_code(e->kind);
	if (!listen_url(call->config, base, sizeof(base), e))
		return err_exit_code(e->kind);
	snprintf(url, sizeof(url), "%s%s", base, path);
	http = http_sync_new(&settings, e);
	ok = http && judge(http_sync_ask(http, "GET", path, NULL, timeout_ms), url, timeout_ms, e);
	http_sync_free(http);
	if (ok)
		puts(call->ready ? "ready: events can be delivered now" : "healthy: the relay's loop turns");
	return ok ? 0 : err_exit_code(e->kind);
}
