// SPDX-License-Identifier: MIT
// No byte of a request leaves after its deadline, whatever happened to the process meanwhile.
#include "base/clock.h"
#include "base/mem.h"
#include "http_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void deadline_before_the_start_sends_nothing(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY } };
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, steps, 1, NULL);
	http_call_post(f.call, "/", "x\n", 2, clock_boot_ms() - 1, NULL);
	assert_true(http_call_busy(f.call));
	assert_int_equal(f.replies, 0);
	http_fixture_wait(&f);
	assert_int_equal(f.reply.fault, HTTP_TIMED_OUT);
	assert_false(f.reply.may_be_applied);
	assert_int_equal(fake_server_connections(f.server), 0);
	http_call_post(f.call, "/", "x\n", 2, clock_boot_ms() - 1, NULL);
	http_call_cancel(f.call);
	http_fixture_run(&f, 20);
	assert_int_equal(f.replies, 1);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.status, 200);
	http_fixture_down(&f);
}

static void frozen_process_sends_nothing_after_its_deadline(void **state)
{
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, NULL, 0, NULL);
	http_call_post(f.call, "/", "x\n", 2, clock_boot_ms() + 30, NULL);
	http_fixture_freeze(60);
	http_fixture_wait(&f);
	assert_int_equal(f.reply.fault, HTTP_TIMED_OUT);
	assert_false(f.reply.may_be_applied);
	http_fixture_run(&f, 20);
	assert_int_equal(fake_server_bytes(f.server), 0);
	http_fixture_down(&f);
}

static void rest_of_a_body_is_not_sent_after_the_deadline(void **state)
{
	enum { BODY_BYTES = 32 * 1024 * 1024 };
	static const struct fake_step steps[] = { { .early = true } };
	struct http_fixture f;
	auto_free char *body = mem_calloc(BODY_BYTES, 1);

	(void)state;
	http_fixture_up(&f, steps, 1, NULL);
	http_call_post(f.call, "/", body, BODY_BYTES, clock_boot_ms() + 100, NULL);
	http_fixture_run(&f, 50); // the server does not read
	assert_int_equal(f.replies, 0);
	http_fixture_freeze(100);
	fake_server_read_on(f.server);
	http_fixture_wait(&f);
	assert_int_equal(f.reply.fault, HTTP_TIMED_OUT);
	assert_true(f.reply.may_be_applied);
	http_fixture_run(&f, 100);
	assert_true(fake_server_bytes(f.server) < BODY_BYTES);
	http_fixture_down(&f);
}

static void answer_may_come_after_the_deadline(void **state)
{
	static const struct fake_step steps[] = {
		{ .reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", .drip = true },
	};
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, steps, 1, NULL);
	http_call_post(f.call, "/", "x\n", 2, clock_boot_ms() + 200, NULL);
	http_fixture_wait(&f); // about 0.8 s
	assert_int_equal(f.reply.fault, HTTP_FINE);
	assert_int_equal(f.reply.status, 200);
	assert_true(f.reply.took_us > 300000);
	http_fixture_down(&f);
}

// The request is sent again by libcurl itself when a kept connection is closed without a byte.
static void second_sending_keeps_the_deadline(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY },
						  { .end = FAKE_CLOSE },
						  { .reply = OK_REPLY } };
	struct http_fixture f;

	(void)state;
	http_fixture_up(&f, steps, 3, NULL);
	http_fixture_post(&f, "x\n");
	http_call_post(f.call, "/", "y\n", 2, clock_boot_ms() + 60, NULL);
	while (fake_server_requests(f.server) < 2)
		http_fixture_step(&f);
	http_fixture_freeze(100); // the end of the connection is seen after that
	http_fixture_wait(&f);
	assert_int_equal(f.reply.fault, HTTP_TIMED_OUT);
	assert_true(f.reply.may_be_applied); // the first sending
	assert_int_equal(fake_server_requests(f.server), 2);
	http_fixture_down(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deadline_before_the_start_sends_nothing),
		cmocka_unit_test(frozen_process_sends_nothing_after_its_deadline),
		cmocka_unit_test(rest_of_a_body_is_not_sent_after_the_deadline),
		cmocka_unit_test(answer_may_come_after_the_deadline),
		cmocka_unit_test(second_sending_keeps_the_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
