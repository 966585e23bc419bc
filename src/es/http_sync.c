// SPDX-License-Identifier: MIT
#include "es/http_sync.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES ((size_t)64 * 1024)

struct http_sync {
	struct ev_loop *loop;
	struct http *http;
	struct http_call *call;
	struct http_reply reply;
	char *body, *fault_text; // owned copies of the reply's
};

static void forget(struct http_sync *s)
{
	free(s->body);
	free(s->fault_text);
	s->body = s->fault_text = NULL;
}

static void on_reply(void *arg, const struct http_reply *reply)
{
	struct http_sync *s = arg;

	s->body = mem_strndup(reply->body, reply->len);
	s->fault_text = mem_strdup(reply->fault_text);
	s->reply = *reply;
	s->reply.body = s->body;
	s->reply.len = strlen(s->body); // an answer with a NUL in it ends there
	s->reply.fault_text = s->fault_text;
	s->reply.location = "";
	ev_break(s->loop, EVBREAK_ALL);
}

struct http_sync *http_sync_new(const struct http_settings *settings, struct err *e)
{
	struct http_sync *s = mem_calloc(1, sizeof(*s));

	signal(SIGPIPE, SIG_IGN); // a server that hangs up is an answer
	s->loop = ev_loop_new(EVFLAG_AUTO);
	if (!s->loop)
		abort(); // no memory, or no descriptor left
	s->http = http_new(s->loop, settings, e);
	if (!s->http) {
		http_sync_free(s);
		return NULL;
	}
	s->call = http_call_new(s->http, on_reply, s);
	return s;
}

void http_sync_free(struct http_sync *s)
{
	if (!s)
		return;
	http_call_free(s->call);
	http_free(s->http);
	ev_loop_destroy(s->loop);
	forget(s);
	free(s);
}

const struct http_reply *http_sync_ask(struct http_sync *s, const char *method, const char *path,
				       const char *body, int64_t timeout_ms)
{
	forget(s);
	http_call_ask(s->call, method, path, body, timeout_ms);
	while (http_call_busy(s->call))
		ev_run(s->loop, 0);
	return &s->reply;
}

char *http_path(const char *before, const char *name, const char *after)
{
	struct buf path;

	buf_init(&path, PATH_MAX_BYTES);
	buf_adds(&path, before);
	for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
		if ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || (*p < 0x80 && strchr("-_.", *p)))
			buf_addc(&path, (char)*p);
		else
			buf_addf(&path, "%%%02X", *p);
	}
	buf_adds(&path, after);
	return buf_take(&path);
}
