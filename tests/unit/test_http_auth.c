// SPDX-License-Identifier: MIT
// Credentials and the checks of http_new.
#include "base/clock.h"
#include "base/mem.h"
#include "http_fixture.h"

#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char secret_file[64];

static int make_secret_file(void **state)
{
	int fd;

	(void)state;
	snprintf(secret_file, sizeof(secret_file), "/tmp/outboxd-test-XXXXXX");
	fd = mkstemp(secret_file);
	return fd < 0 ? -1 : close(fd);
}

static int remove_secret_file(void **state)
{
	(void)state;
	return unlink(secret_file);
}

// The time of change is set by hand: two writes may be closer than the clock of the file system.
static void write_secret(const char *text, time_t when)
{
	struct timespec times[2] = { { .tv_sec = when }, { .tv_sec = when } };
	FILE *f = fopen(secret_file, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(utimensat(AT_FDCWD, secret_file, times, 0), 0);
}

static void assert_sent(const struct http_fixture *f, const char *line)
{
	if (!strstr(fake_server_head(f->server), line))
		fail_msg("no '%s' in: %s", line, fake_server_head(f->server));
}

static void api_key_is_sent(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY }, { .reply = OK_REPLY } };
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;

	(void)state;
	write_secret("a2V5\n", 1000);
	settings.api_key_file = secret_file;
	http_fixture_up(&f, steps, 2, &settings);
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "\r\nAuthorization: ApiKey a2V5\r\n");
	http_call_get(f.call, "/", 1000);
	http_fixture_wait(&f);
	assert_sent(&f, "\r\nAuthorization: ApiKey a2V5\r\n");
	http_fixture_down(&f);
}

static void password_is_sent(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY } };
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;

	(void)state;
	write_secret("a:b", 1000);
	settings.username = "elastic";
	settings.password_file = secret_file;
	http_fixture_up(&f, steps, 1, &settings);
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "\r\nAuthorization: Basic ZWxhc3RpYzphOmI=\r\n");
	http_fixture_down(&f);
}

static void bearer_is_sent(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY } };
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;

	(void)state;
	write_secret("eyJ.x-_~+/=", 1000);
	settings.bearer_file = secret_file;
	http_fixture_up(&f, steps, 1, &settings);
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "\r\nAuthorization: Bearer eyJ.x-_~+/=\r\n");
	http_fixture_down(&f);
}

static void a_secret_that_changes_is_read_again(void **state)
{
	static const struct fake_step steps[] = {
		{ .reply = OK_REPLY }, { .reply = OK_REPLY }, { .reply = OK_REPLY },
		{ .reply = OK_REPLY }, { .reply = OK_REPLY }, { .reply = OK_REPLY },
	};
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;

	(void)state;
	write_secret("one", 1000);
	settings.api_key_file = secret_file;
	http_fixture_up(&f, steps, 6, &settings);
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "ApiKey one\r\n");
	write_secret("two", 1001); // nothing is wrong with the old one: no 401 has to come first
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "ApiKey two\r\n");
	write_secret("three", 1001); // the same time, another size
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "ApiKey three\r\n");
	write_secret("", 1002); // half written: what we have is kept
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "ApiKey three\r\n");
	assert_int_equal(unlink(secret_file), 0);
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "ApiKey three\r\n");
	write_secret("three", 1001);
	write_secret("four!", 1002);
	http_fixture_post(&f, "x\n");
	assert_sent(&f, "ApiKey four!\r\n");
	http_fixture_down(&f);
}

// The form; the signature itself is recomputed by tests/integration/test_auth.py.
static void aws_requests_are_signed(void **state)
{
	static const struct fake_step steps[] = { { .reply = OK_REPLY }, { .reply = OK_REPLY } };
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;
	size_t len;

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret/key", 1);
	setenv("AWS_SESSION_TOKEN", "token==", 1);
	settings.aws_region = "eu-west-1";
	http_fixture_up(&f, steps, 2, &settings);
	http_fixture_post(&f, "x\n");
	assert_int_equal(f.reply.status, 200);
	assert_sent(&f, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/");
	assert_sent(
		&f,
		"/eu-west-1/es/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ");
	assert_sent(&f, "\r\nX-Amz-Security-Token: token==\r\n");
	assert_string_equal(fake_server_body(f.server, &len), "x\n");
	http_call_get(f.call, "/", 1000);
	http_fixture_wait(&f);
	assert_sent(&f, "\r\nAuthorization: AWS4-HMAC-SHA256 ");
	http_fixture_down(&f);
}

static void aws_request_keeps_its_deadline(void **state)
{
	struct http_settings settings = http_fixture_settings();
	struct http_fixture f;

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret/key", 1);
	settings.aws_region = "eu-west-1";
	http_fixture_up(&f, NULL, 0, &settings);
	http_call_post(f.call, "/", "x\n", 2, clock_boot_ms() + 30, NULL);
	http_fixture_freeze(60);
	http_fixture_wait(&f);
	assert_int_equal(f.reply.fault, HTTP_TIMED_OUT);
	assert_false(f.reply.may_be_applied);
	http_fixture_run(&f, 20);
	assert_int_equal(fake_server_bytes(f.server), 0);
	http_fixture_down(&f);
}

static void assert_refused(struct http_settings *settings)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct err e = { .kind = ERR_NONE };

	assert_null(http_new(loop, settings, &e));
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_true(strlen(e.text) > 0);
	assert_null(strstr(e.text, "hunter2"));
	ev_loop_destroy(loop);
}

static void wrong_settings_are_refused(void **state)
{
	static const char *const urls[] = {
		"",
		"localhost:9200",
		"ftp://localhost",
		"http://",
		"http://u:hunter2@localhost:9200",
		"http://u@localhost",
		"http://localhost:9200?a=hunter2",
		"http://localhost:9200/#a",
		"http://localhost:hunter2",
	};
	struct http_settings settings;

	(void)state;
	for (size_t i = 0; i < array_len(urls); i++) {
		settings = http_fixture_settings();
		settings.url = urls[i];
		assert_refused(&settings);
	}
	settings = http_fixture_settings();
	settings.url = "http://localhost:9200";
	settings.api_key_file = "/nonexistent/key";
	assert_refused(&settings);
	settings.api_key_file = secret_file;
	write_secret("", 1000);
	assert_refused(&settings);
	write_secret("hunter2\nX-Evil: 1\n", 1000);
	assert_refused(&settings);
	settings.aws_region = "eu-west-1";
	unsetenv("AWS_ACCESS_KEY_ID");
	assert_refused(&settings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(api_key_is_sent),
		cmocka_unit_test(password_is_sent),
		cmocka_unit_test(bearer_is_sent),
		cmocka_unit_test(a_secret_that_changes_is_read_again),
		cmocka_unit_test(aws_requests_are_signed),
		cmocka_unit_test(aws_request_keeps_its_deadline),
		cmocka_unit_test(wrong_settings_are_refused),
	};

	return cmocka_run_group_tests(tests, make_secret_file, remove_secret_file);
}
