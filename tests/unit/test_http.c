// SPDX-License-Identifier: MIT
#include "base/mem.h"
#include "http_fixture.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include <cmocka.h>

static void assert_line(const struct http_fixture *f, const char *line)
{
	if (!strstr(fake_server_head(f->server), line))
		fail_msg("no '%s' in: %s", line, fake_server_head(f->server));
}

static void assert_no_line(const struct http_fixture *f, const char *part)
{
	if (strcasestr(fake_server_head(f->server), part))
		fail_msg("'%s' in: %s", part, fake_server_head(f->server));
}

static void post_is_answered(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY }, { .reply = OK_REPLY } };
	struct http_fixture f;
	size_t len;

	(void)state;
	http_fixture_up(&f, steps, 2, NULL);
	http_call_post(f.call, "/_bulk?x=%2A", "line\n", 5, 0, "X-Opaque-Id: w1");
	http_fixture_wait(&f);
	assert_int_equal(f.reply.fault, HTTP_FINE);
	assert_int_equal(f.reply.status, 200);
	assert_string_equal(f.body, "{}");
	assert_int_equal(f.reply.retry_after_ms, -1);
	assert_string_equal(f.location, "");
	assert_true(f.reply.may_be_applied);
	assert_line(&f, "POST /_bulk?x=%2A HTTP/1.1\r\n");
	assert_line(&f, "\r\nContent-Type: application/x-ndjson\r\n");
	assert_line(&f, "\r\nContent-Length: 5\r\n");
	assert_line(&f, "\r\nX-Opaque-Id: w1\r\n");
	assert_line(&f, "\r\nUser-Agent: outboxd/test\r\n");
	assert_no_line(&f, "\r\nExpect");
	assert_no_line(&f, "\r\nAuthorization");
	assert_no_line(&f, "\r\nTransfer-Encoding");
	assert_string_equal(fake_server_body(f.server, &len), "line\n");
	assert_int_equal(len, 5);
	http_call_get(f.call, "/", 1000); // of the same call
	http_fixture_wait(&f);
	assert_int_equal(f.reply.status, 200);
	assert_line(&f, "GET / HTTP/1.1\r\n");
	assert_no_line(&f, "\r\nContent-");
	assert_no_line(&f, "\r\nX-Opaque-Id");
	assert_int_equal(fake_server_connections(f.server), 1);
	http_fixture_down(&f);
}

static void faults_are_named(void **state)
{
	static const struct {
		struct fake_step step;
		enum http_fault fault;
		int status;
	} cases[] = {
		{ { .end = FAKE_RESET }, HTTP_BROKEN, 0 },
		{ { .end = FAKE_CLOSE }, HTTP_BROKEN, 0 },
		{ { .reply = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\"", .end = FAKE_CLOSE },
		  HTTP_BROKEN,
		  200 },
		{ { .reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
		    .end = FAKE_CLOSE },
		  HTTP_BROKEN,
		  200 },
		{ { .reply =
			    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n" },
		  HTTP_FINE,
		  200 },
		{ { .reply = "HTTP/1.0 200 OK\r\n\r\n{\"cut", .end = FAKE_CLOSE },
		  HTTP_FINE,
		  200 }, // nobody can know
		{ { .reply = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n" }, HTTP_FINE, 413 },
		{ { .reply = NULL }, HTTP_TIMED_OUT, 0 },
		{ { .reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", .drip = true },
		  HTTP_TIMED_OUT,
		  0 },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct http_settings settings = http_fixture_settings();
		struct http_fixture f;

		settings.timeout_ms = 300;
		http_fixture_up(&f, &cases[i].step, 1, &settings);
		http_fixture_post(&f, "x\n");
		assert_string_equal(http_fault_name(f.reply.fault), http_fault_name(cases[i].fault));
		if (cases[i].fault != HTTP_TIMED_OUT)
			assert_int_equal(f.reply.status, cases[i].status);
		assert_true(f.reply.may_be_applied);
		http_fixture_down(&f);
	}
}

static void refused_connection_applies_nothing(void **state)
{
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, NULL, 0, NULL);
	fake_server_stop_listening(f.server);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.fault, HTTP_UNREACHABLE);
	assert_int_equal(f.reply.status, 0);
	assert_false(f.reply.may_be_applied);
	http_fixture_post(&f, "x\n"); // and again: nothing is left over
	assert_int_equal(f.reply.fault, HTTP_UNREACHABLE);
	http_fixture_down(&f);
}

static void tls_to_a_plain_port_applies_nothing(void **state)
{
	static const struct fake_step steps[] = { { .reply = "HTTP/1.1 400 Bad Request\r\n\r\n",
						    .early = true } };
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;
	struct http *tls;
	char url[64];

	(void)state;
	settings.timeout_ms = 1000;
	http_fixture_up(&f, steps, 1, &settings);
	snprintf(url, sizeof(url), "https://127.0.0.1:%d", fake_server_port(f.server));
	settings.url = url;
	tls = http_new(f.loop, &settings, NULL);
	assert_non_null(tls);
	http_call_free(f.call);
	http_free(f.http);
	f.http = tls;
	f.call = http_call_new(f.http, http_fixture_reply, &f);
	http_fixture_post(&f, "x\n");
	assert_true(f.reply.fault == HTTP_TLS || f.reply.fault == HTTP_UNREACHABLE);
	assert_false(f.reply.may_be_applied);
	http_fixture_down(&f);
}

static void too_large_an_answer_is_not_read(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY }, { .reply = OK_REPLY } };
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;

	(void)state;
	settings.answer_max = 1;
	http_fixture_up(&f, steps, 2, &settings);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.fault, HTTP_TOO_LARGE);
	assert_int_equal(f.reply.status, 200);
	assert_true(f.reply.may_be_applied);
	http_fixture_down(&f);
}

static void redirect_is_told_and_not_followed(void **state)
{
	static const struct fake_step steps[] = {
		{ .reply = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" },
	};
	struct http_fixture f;
	char expected[128];

	(void)state;
	http_fixture_up(&f, steps, 1, NULL);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.fault, HTTP_FINE);
	assert_int_equal(f.reply.status, 302);
	snprintf(expected, sizeof(expected), "%selsewhere", f.url);
	assert_string_equal(f.location, expected);
	assert_int_equal(fake_server_requests(f.server), 1);
	http_fixture_down(&f);
}

static void retry_after_is_read_in_both_forms(void **state)
{
	char reply[2][256];
	struct fake_step steps[] = {
		{ .reply = "HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n" },
		{ .reply = reply[0] },
		{ .reply = reply[1] },
		{ .reply = "HTTP/1.1 503 No\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n" },
	};
	struct http_fixture f;

	(void)state;
	for (int i = 0; i < 2; i++) {
		time_t when = time(NULL) + (i == 0 ? 60 : -60);
		char date[64];
		struct tm tm;

		strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&when, &tm));
		snprintf(reply[i], sizeof(reply[i]),
			 "HTTP/1.1 429 No\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", date);
	}
	http_fixture_up(&f, steps, 4, NULL);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.retry_after_ms, 7000);
	http_fixture_post(&f, "x\n");
	assert_in_range(f.reply.retry_after_ms, 50000, 61000);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.retry_after_ms, -1);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.retry_after_ms, -1);
	http_fixture_down(&f);
}

static void closed_connection_is_replaced(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY, .end = FAKE_CLOSE },
						  { .reply = OK_REPLY } };
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, steps, 2, NULL);
	http_fixture_post(&f, "x\n");
	http_fixture_post(&f, "y\n");
	assert_int_equal(f.reply.fault, HTTP_FINE);
	assert_int_equal(fake_server_connections(f.server), 2);
	http_fixture_down(&f);
}

// libcurl sends a request again by itself when a kept connection closes without a byte of an answer.
static void silent_second_sending_is_whole(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY },
						  { .end = FAKE_CLOSE },
						  { .reply = OK_REPLY } };
	struct http_fixture f;
	size_t len;

	(void)state;
	http_fixture_up(&f, steps, 3, NULL);
	http_fixture_post(&f, "x\n");
	http_fixture_post(&f, "second\n");
	assert_int_equal(f.reply.fault, HTTP_FINE);
	assert_int_equal(fake_server_requests(f.server), 3);
	assert_string_equal(fake_server_body(f.server, &len), "second\n");
	http_fixture_down(&f);
}

static void refusal_of_a_second_sending_is_no_proof(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY }, { .end = FAKE_CLOSE } };
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, steps, 2, NULL);
	http_fixture_post(&f, "x\n");
	fake_server_stop_listening(f.server);
	http_fixture_post(&f, "y\n");
	assert_int_equal(f.reply.fault, HTTP_UNREACHABLE);
	assert_int_equal(fake_server_requests(f.server), 2);
	assert_true(f.reply.may_be_applied); // the first sending
	http_fixture_down(&f);
}

static void early_refusal_of_a_large_body_is_heard(void **state)
{
	enum { BODY_BYTES = 32 * 1024 * 1024 };
	static const struct fake_step steps[] = {
		{ .early = true,
		  .reply = "HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" },
	};
	struct http_fixture f;
	auto_free char *body = mem_calloc(BODY_BYTES, 1);

	(void)state;
	http_fixture_up(&f, steps, 1, NULL);
	http_call_post(f.call, "/", body, BODY_BYTES, 0, NULL);
	http_fixture_wait(&f);
	assert_int_equal(f.reply.fault, HTTP_FINE);
	assert_int_equal(f.reply.status, 413);
	http_fixture_down(&f);
}

static void cancelled_call_is_silent_and_usable(void **state)
{
	static const struct fake_step steps[] = { { .reply = NULL }, { .reply = OK_REPLY } };
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, steps, 2, NULL);
	http_call_cancel(f.call); // idle: harmless
	http_call_post(f.call, "/", "x\n", 2, 0, NULL);
	http_fixture_run(&f, 50);
	assert_int_equal(fake_server_requests(f.server), 1);
	http_call_cancel(f.call);
	assert_false(http_call_busy(f.call));
	http_fixture_run(&f, 50);
	assert_int_equal(f.replies, 0);
	http_fixture_post(&f, "y\n");
	assert_int_equal(f.reply.status, 200);
	http_call_post(f.call, "/", "z\n", 2, 0, NULL); // freed in flight by http_fixture_down
	http_fixture_run(&f, 20);
	http_fixture_down(&f);
}

struct pair {
	struct half {
		struct pair *pair;
		struct http_call *call;
	} halves[2];
	size_t replies;
	size_t to_go;
	struct ev_loop *loop;
};

// Whoever comes first silences the other and starts both again; at last it frees the other.
static void on_half(void *arg, const struct http_reply *reply)
{
	struct half *self = arg;
	struct pair *pair = self->pair;
	struct half *other = &pair->halves[self == &pair->halves[0]];

	(void)reply;
	pair->replies++;
	http_call_cancel(self->call); // idle by now: harmless
	http_call_cancel(other->call);
	if (--pair->to_go > 0) {
		http_call_post(self->call, "/", "x\n", 2, 0, NULL);
		http_call_post(other->call, "/", "x\n", 2, 0, NULL);
	} else {
		http_call_free(other->call);
		other->call = NULL;
		ev_break(pair->loop, EVBREAK_ALL);
	}
}

static void callback_may_start_and_cancel(void **state)
{
	struct pair pair = { .to_go = 20 };
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, NULL, 0, NULL);
	fake_server_stop_listening(f.server); // both are refused in one turn of the loop
	pair.loop = f.loop;
	for (size_t i = 0; i < 2; i++) {
		pair.halves[i].pair = &pair;
		pair.halves[i].call = http_call_new(f.http, on_half, &pair.halves[i]);
		http_call_post(pair.halves[i].call, "/", "x\n", 2, 0, NULL);
	}
	http_fixture_run(&f, 5000);
	assert_int_equal(pair.replies, 20);
	for (size_t i = 0; i < 2; i++)
		http_call_free(pair.halves[i].call);
	http_fixture_down(&f);
}

static void body_is_packed(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY } };
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;
	z_stream z = { .avail_in = 0 };
	char text[2000];
	char plain[sizeof(text)];
	const char *body;
	size_t len;

	(void)state;
	settings.gzip = true;
	memset(text, 'x', sizeof(text));
	http_fixture_up(&f, steps, 1, &settings);
	http_call_post(f.call, "/", text, sizeof(text), 0, NULL);
	http_fixture_wait(&f);
	assert_int_equal(f.reply.status, 200);
	assert_line(&f, "\r\nContent-Encoding: gzip\r\n");
	body = fake_server_body(f.server, &len);
	assert_true(len < 100);
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)body;
	z.avail_in = (uInt)len;
	z.next_out = (Bytef *)plain;
	z.avail_out = sizeof(plain);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(inflateEnd(&z), Z_OK);
	assert_memory_equal(plain, text, sizeof(text));
	http_fixture_down(&f);
}

static void waiting_does_not_spin(void **state)
{
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;
	unsigned turns;

	(void)state;
	settings.timeout_ms = 500;
	http_fixture_up(&f, NULL, 0, &settings);
	turns = ev_iteration(f.loop);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.fault, HTTP_TIMED_OUT);
	assert_in_range(f.reply.took_us, 490000, 900000);
	assert_true(ev_iteration(f.loop) - turns < 60);
	http_fixture_down(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(post_is_answered),
		cmocka_unit_test(faults_are_named),
		cmocka_unit_test(refused_connection_applies_nothing),
		cmocka_unit_test(tls_to_a_plain_port_applies_nothing),
		cmocka_unit_test(too_large_an_answer_is_not_read),
		cmocka_unit_test(redirect_is_told_and_not_followed),
		cmocka_unit_test(retry_after_is_read_in_both_forms),
		cmocka_unit_test(closed_connection_is_replaced),
		cmocka_unit_test(silent_second_sending_is_whole),
		cmocka_unit_test(refusal_of_a_second_sending_is_no_proof),
		cmocka_unit_test(early_refusal_of_a_large_body_is_heard),
		cmocka_unit_test(cancelled_call_is_silent_and_usable),
		cmocka_unit_test(callback_may_start_and_cancel),
		cmocka_unit_test(body_is_packed),
		cmocka_unit_test(waiting_does_not_spin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
