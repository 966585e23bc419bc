// SPDX-License-Identifier: MIT
#include "http_fixture.h"

#include <ev.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void http_fixture_reply(void *arg, const struct http_reply *reply)
{
	struct http_fixture *f = arg;

	f->replies++;
	f->reply = *reply;
	assert_int_equal(strlen(reply->body), reply->len);
	snprintf(f->body, sizeof(f->body), "%.255s", reply->body);
	snprintf(f->fault_text, sizeof(f->fault_text), "%s", reply->fault_text);
	snprintf(f->location, sizeof(f->location), "%s", reply->location);
	assert_int_equal(reply->fault == HTTP_FINE, reply->fault_text[0] == '\0');
	assert_true(reply->took_us >= 0);
	ev_break(f->loop, EVBREAK_ALL);
}

static void on_end(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer, (void)revents;
	ev_break(loop, EVBREAK_ALL);
}

struct http_settings http_fixture_settings(void)
{
	return (struct http_settings){
		.username = "",
		.password_file = "",
		.api_key_file = "",
		.bearer_file = "",
		.ca_file = "",
		.fingerprint = "",
		.cert_file = "",
		.key_file = "",
		.aws_region = "",
		.aws_credentials_file = "",
		.timeout_ms = 5000,
		.answer_max = 1024 * 1024,
		.user_agent = "outboxd/test",
	};
}

void http_fixture_up(struct http_fixture *f, const struct fake_step *steps, size_t count,
		     struct http_settings *settings)
{
	struct http_settings plain = http_fixture_settings();
	struct err e = { .text = "" };

	signal(SIGPIPE, SIG_IGN); // as the daemon does
	*f = (struct http_fixture){ .loop = ev_loop_new(EVFLAG_AUTO) };
	f->server = fake_server_new(f->loop, steps, count);
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/", fake_server_port(f->server));
	if (!settings)
		settings = &plain;
	settings->url = f->url;
	f->http = http_new(f->loop, settings, &e);
	if (!f->http)
		fail_msg("%s", e.text);
	f->call = http_call_new(f->http, http_fixture_reply, f);
}

void http_fixture_down(struct http_fixture *f)
{
	http_call_free(f->call);
	http_free(f->http);
	fake_server_free(f->server);
	ev_loop_destroy(f->loop);
}

void http_fixture_run(struct http_fixture *f, int ms)
{
	ev_timer end;

	ev_now_update(f->loop);
	ev_timer_init(&end, on_end, ms / 1000.0, 0.0);
	ev_timer_start(f->loop, &end);
	ev_run(f->loop, 0);
	ev_timer_stop(f->loop, &end);
}

void http_fixture_wait(struct http_fixture *f)
{
	size_t before = f->replies;

	http_fixture_run(f, 10000);
	assert_int_equal(f->replies, before + 1);
}

void http_fixture_step(struct http_fixture *f)
{
	ev_run(f->loop, EVRUN_ONCE);
}

void http_fixture_freeze(int ms)
{
	(void)poll(NULL, 0, ms);
}

void http_fixture_post(struct http_fixture *f, const char *body)
{
	size_t before = f->replies;

	http_call_post(f->call, "/_bulk", body, strlen(body), 0, NULL);
	assert_true(http_call_busy(f->call));
	assert_int_equal(f->replies, before); // never from within
	http_fixture_wait(f);
	assert_false(http_call_busy(f->call));
}
