// SPDX-License-Identifier: MIT
// With a real socket in the place of systemd's.
#include "base/sd_notify.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

// A manager's socket at `name`, '@' for the abstract space; $NOTIFY_SOCKET names it.
static int manager(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && len < sizeof(a.sun_path));
	memcpy(a.sun_path, name, len);
	if (name[0] == '@')
		a.sun_path[0] = '\0';
	len += offsetof(struct sockaddr_un, sun_path) + (name[0] != '@');
	assert_int_equal(bind(fd, (struct sockaddr *)&a, (socklen_t)len), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void assert_next(int fd, const char *expected)
{
	char text[8192];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, expected);
}

static void assert_nothing(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void sends_to(const char *name)
{
	int fd = manager(name);

	assert_true(sd_notify("READY=1", "12 pending"));
	assert_true(sd_notify("WATCHDOG=1", ""));
	assert_true(sd_notify("", "idle"));
	assert_next(fd, "READY=1\nSTATUS=12 pending");
	assert_next(fd, "WATCHDOG=1");
	assert_next(fd, "STATUS=idle");
	assert_nothing(fd);
	close(fd);
	assert_false(sd_notify("READY=1", "")); // the manager is gone
}

static void to_a_path_and_to_an_abstract_name(void **state)
{
	char folder[] = "/tmp/outboxd-notify-XXXXXX", path[64], abstract[64];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	snprintf(abstract, sizeof(abstract), "@%s", folder);
	sends_to(path);
	sends_to(abstract);
	unlink(path);
	rmdir(folder);
}

static void without_a_manager_nothing_happens(void **state)
{
	char longer[256];

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	const char *const names[] = { "", "/", "@", "relative", "vsock:2:1234", "/no/such/socket", longer };

	unsetenv("NOTIFY_SOCKET");
	assert_false(sd_notify("READY=1", ""));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		assert_false(sd_notify("READY=1", "text"));
	}
}

static void a_full_queue_blocks_nobody(void **state)
{
	int fd = manager("@outboxd-notify-full"), sent = 0;
	char text[64];

	(void)state;
	while (sd_notify("WATCHDOG=1", "") && sent < 100000)
		sent++;
	assert_true(sent > 0 && sent < 100000);
	assert_false(sd_notify("READY=1", ""));
	while (recv(fd, text, sizeof(text), 0) > 0)
		;
	assert_true(sd_notify("READY=1", ""));
	close(fd);
}

static void a_status_is_one_line_of_utf8(void **state)
{
	int fd = manager("@outboxd-notify-status");
	char longer[1024], expected[1024];

	(void)state;
	assert_true(sd_notify("READY=1", "a\nMAINPID=1\tb\177c"));
	assert_next(fd, "READY=1\nSTATUS=a MAINPID=1 b c");
	assert_true(sd_notify("", "gr\xc3\xbc\xc3\x9f \xff \xc3"));
	assert_next(fd, "STATUS=gr\xc3\xbc\xc3\x9f ? ?");

	// 511 bytes would end inside of a character.
	memset(longer, 'x', sizeof(longer));
	memcpy(longer + 510, "\xc3\xbc", 2);
	longer[sizeof(longer) - 1] = '\0';
	snprintf(expected, sizeof(expected), "STATUS=%.510s", longer);
	assert_true(sd_notify("", longer));
	assert_next(fd, expected);
	close(fd);
}

static void watchdog_is_ours_or_nobodys(void **state)
{
	const struct {
		const char *period, *pid;
		int64_t expected;
	} rows[] = {
		{ NULL, NULL, 0 },
		{ "3000000", NULL, 3000000 },
		{ "3000000", "1", 0 },
		{ "3000000", "x", 0 },
		{ "0", NULL, 0 },
		{ "-5", NULL, 0 },
		{ "3s", NULL, 0 },
		{ "", NULL, 0 },
		{ "99999999999999999999", NULL, 0 },
	};
	char own[16];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsetenv("WATCHDOG_USEC");
		unsetenv("WATCHDOG_PID");
		if (rows[i].period)
			setenv("WATCHDOG_USEC", rows[i].period, 1);
		if (rows[i].pid)
			setenv("WATCHDOG_PID", rows[i].pid, 1);
		assert_int_equal(sd_watchdog_us(), rows[i].expected);
	}
	snprintf(own, sizeof(own), "%d", (int)getpid());
	setenv("WATCHDOG_USEC", "250000", 1);
	setenv("WATCHDOG_PID", own, 1);
	assert_int_equal(sd_watchdog_us(), 250000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(to_a_path_and_to_an_abstract_name),
		cmocka_unit_test(without_a_manager_nothing_happens),
		cmocka_unit_test(a_full_queue_blocks_nobody),
		cmocka_unit_test(a_status_is_one_line_of_utf8),
		cmocka_unit_test(watchdog_is_ours_or_nobodys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
