// SPDX-License-Identifier: MIT
#include "cmd/relay_says.h"

#include "base/attr.h"
#include "base/buf.h"
#include "es/http_sync.h"
#include "run/listen.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 2000
#define ANSWER_MAX ((size_t)1024 * 1024)
#define PAUSED "paused by an operator" // as /readyz says it

static const struct {
	const char *name, *text; // the text goes before the address
} states[] = {
	[RELAY_NOT_ASKED] = { "not_asked", "was not asked" },
	[RELAY_READY] = { "ready", "is ready, at" },
	[RELAY_NOT_READY] = { "not_ready", "is NOT READY, at" },
	[RELAY_NOBODY] = { "nobody", "is stopped, or runs elsewhere: nothing listens at" },
	[RELAY_SILENT] = { "silent", "HANGS: within 2 s it says nothing at" },
	[RELAY_OTHER] = { "other", "is stopped, or runs elsewhere: one of another table is at" },
	[RELAY_STRANGER] = { "stranger", "is stopped, or runs elsewhere: something else answers at" },
};

static void add_reason(struct relay_says *s, const char *text, size_t len)
{
	json_t *reason = json_stringn(text, len);

	if (len)
		json_array_append_new(s->reasons, reason ? reason : json_string("(not UTF-8)"));
}

static void judge_fault(struct relay_says *s, const struct http_reply *reply)
{
	s->state = reply->fault == HTTP_UNREACHABLE ? RELAY_NOBODY
		   : reply->fault == HTTP_TIMED_OUT ? RELAY_SILENT
						    : RELAY_STRANGER;
	if (s->state == RELAY_STRANGER)
		add_reason(s, reply->fault_text, strlen(reply->fault_text));
}

static void judge_lines(struct relay_says *s, const struct http_reply *reply)
{
	if (reply->status == 200 && strcmp(reply->body, "ok\n") == 0) {
		s->state = RELAY_READY;
		return;
	}
	if (reply->status != 503) {
		s->state = RELAY_STRANGER;
		return;
	}
	s->state = RELAY_NOT_READY;
	for (const char *line = reply->body; *line; line += strspn(line, "\n")) {
		size_t len = strcspn(line, "\n");

		s->paused |= len == strlen(PAUSED) && strncmp(line, PAUSED, len) == 0;
		add_reason(s, line, len);
		line += len;
	}
}

static void judge_status(struct relay_says *s, const struct http_reply *reply, const char *our_table)
{
	json_t *told = json_loadb(reply->body, reply->len, 0, NULL);
	const char *table = json_string_value(json_object_get(told, "table"));
	const json_t *reasons = json_object_get(told, "reasons"), *reason;
	size_t i;

	if (!table || !json_is_array(reasons)) {
		s->state = RELAY_STRANGER;
	} else if (strcmp(table, our_table) != 0) {
		s->state = RELAY_OTHER;
		add_reason(s, table, strlen(table));
	} else {
		s->state = json_is_true(json_object_get(told, "ready")) ? RELAY_READY : RELAY_NOT_READY;
		s->paused = json_is_true(json_object_get(told, "paused"));
		json_array_foreach(reasons, i, reason)
		{
			add_reason(s, json_string_value(reason), json_string_length(reason));
		}
	}
	json_decref(told);
}

void relay_says_ask(const struct config *c, struct relay_says *ret)
{
	struct http_settings settings = {
		.url = ret->url, .direct = true, .timeout_ms = TIMEOUT_MS, .answer_max = ANSWER_MAX
	};
	const struct http_reply *reply = NULL;
	struct http_sync *http;
	struct err e = { 0 };

	*ret = (struct relay_says){ .reasons = json_array() };
	if (strcmp(c->admin_listen, "off") == 0)
		err_set(&e, ERR_CONFIG, "admin.listen is off");
	http = e.kind == ERR_NONE && listen_url(c, ret->url, sizeof(ret->url), &e)
		       ? http_sync_new(&settings, &e)
		       : NULL;
	if (!http) {
		add_reason(ret, e.text, strlen(e.text));
		return;
	}
	// Only /status says of which table it is, but that may want the token.
	if (!*c->admin_token_file)
		reply = http_sync_ask(http, "GET", "/status", NULL, TIMEOUT_MS);
	if (reply && reply->fault == HTTP_FINE && reply->status == 200) {
		judge_status(ret, reply, c->outbox_table);
	} else {
		if (!reply || (reply->fault == HTTP_FINE && reply->status == 401))
			reply = http_sync_ask(http, "GET", "/readyz", NULL, TIMEOUT_MS);
		if (reply->fault == HTTP_FINE)
			judge_lines(ret, reply);
		else
			judge_fault(ret, reply);
	}
	http_sync_free(http);
}

void relay_says_done(struct relay_says *s)
{
	json_decref(s->reasons);
	s->reasons = NULL;
}

void relay_says_text(const struct relay_says *s, struct buf *out)
{
	const json_t *reason;
	size_t i;

	buf_adds(out, states[s->state].text);
	if (*s->url)
		buf_addf(out, " %s", s->url);
	json_array_foreach(s->reasons, i, reason)
	{
		buf_addf(out, "%s%s", i ? "; " : ": ", json_string_value(reason));
	}
}

void relay_says_resume(const struct relay_says *s, const struct config *c, struct buf *out)
{
	buf_adds(out, "curl -X POST ");
	if (*c->admin_token_file)
		buf_addf(out, "-H \"Authorization: Bearer $(cat %s)\" ", c->admin_token_file);
	buf_addf(out, "%s/resume", s->url);
}

json_t *relay_says_json(const struct relay_says *s)
{
	return json_pack("{s:s, s:s, s:b, s:O}", "state", states[s->state].name, "url", s->url, "paused",
			 s->paused, "reasons", s->reasons);
}
