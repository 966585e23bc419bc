// SPDX-License-Identifier: MIT
// What compares a token, and how much of the right one it gives away; what overwrites one.
#include "base/buf.h"
#include "base/config.h"
#include "base/ini.h"
#include "base/mem.h"
#include "core/guard.h"

#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void only_the_same_is_the_same(void **state)
{
	static const struct {
		const char *given, *secret;
		bool same;
	} rows[] = {
		{ "token", "token", true },  { "", "", true },
		{ "", "token", false },      { "token", "", false },
		{ "toke", "token", false },  { "tokenx", "token", false },
		{ "xoken", "token", false }, { "tokex", "token", false },
		{ "Token", "token", false }, { "abab", "ab", false },
		{ "ab", "abab", false },     { "tokentoken", "token", false },
		{ "\x80", "\x81", false },   { "\xff", "\xff", true },
	};

	(void)state;
	for (size_t i = 0; i < array_len(rows); i++)
		assert_int_equal(guard_same(rows[i].given, rows[i].secret), rows[i].same);
}

typedef bool comparison(const char *given, const char *secret);

// As one would write it: gives away how many of the first characters are right.
static bool quick(const char *given, const char *secret)
{
	while (*given && *given == *secret) {
		given++;
		secret++;
	}
	return *given == *secret;
}

static void compare_traced(comparison *same, const char *given, const char *secret)
{
	volatile bool result;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(1);
	raise(SIGSTOP);
	result = same(given, secret);
	(void)result;
	_exit(0);
}

// How many machine instructions a comparison takes: no clock, so no luck.
static long steps_of(comparison *same, const char *given, const char *secret)
{
	long steps = 0;
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		compare_traced(same, given, secret);
	assert_int_equal(waitpid(child, &status, 0), child);
	while (WIFSTOPPED(status)) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		steps++;
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return steps;
}

#define RIGHT "7f1de5a2c0b94e6d8f31"
static const char *const guesses[] = {
	RIGHT,
	"x7f1de5a2c0b94e6d8f3",
	"7f1de5a2c0b94e6d8f3x",
	"7f1de5a2cxb94e6d8f31",
	"xxxxxxxxxxxxxxxxxxxx",
	"00000000000000000000",
};

static void a_guess_takes_as_long_however_good_it_is(void **state)
{
	long right = steps_of(guard_same, RIGHT, RIGHT);

	(void)state;
	for (size_t i = 0; i < array_len(guesses); i++)
		assert_int_equal(steps_of(guard_same, guesses[i], RIGHT), right);
}

static void this_way_of_counting_finds_a_leak(void **state)
{
	(void)state;
	assert_true(steps_of(quick, "7f1de5a2c0b94e6d8f3x", RIGHT) >
		    steps_of(quick, "x7f1de5a2c0b94e6d8f3", RIGHT));
}

// The linker leads every free() of ours here (--wrap): how many blocks still held the secret?
static int freed_with_secret;

void __real_free(void *block);
void __wrap_free(void *block);

void __wrap_free(void *block)
{
	if (block && memmem(block, malloc_usable_size(block), RIGHT, strlen(RIGHT)))
		freed_with_secret++;
	__real_free(block);
}

static int count_freed(void)
{
	int n = freed_with_secret;

	freed_with_secret = 0;
	return n;
}

static void this_way_of_looking_finds_a_leak(void **state)
{
	struct buf b;

	(void)state;
	free(mem_strdup(RIGHT));
	assert_int_equal(count_freed(), 1);
	buf_init(&b, 1000);
	buf_adds(&b, RIGHT);
	buf_done(&b);
	assert_int_equal(count_freed(), 1);
}

static void what_held_a_secret_is_overwritten(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	buf_adds(&b, "Authorization: ApiKey " RIGHT);
	buf_truncate(&b, 3); // the rest is behind the end, but there
	buf_wipe(&b);
	assert_null(b.data);
	config_secret_free(mem_strdup(RIGHT));
	assert_int_equal(count_freed(), 0);
}

static bool no_entry(void *arg, const struct ini_entry *entry, struct err *e)
{
	(void)arg;
	(void)entry;
	(void)e;
	return true;
}

static void files_are_overwritten(void **state)
{
	static const char text[] = "[postgres]\ndsn = password=" RIGHT "\n";
	char path[] = "/tmp/outboxd-test-XXXXXX";
	int fd = mkstemp(path);
	char *secret = NULL;
	struct config c;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(write(fd, RIGHT "\n", sizeof(RIGHT)), sizeof(RIGHT));
	assert_true(config_read_secret(path, &secret, &e));
	assert_int_equal(count_freed(), 0);
	config_secret_free(secret);
	assert_true(ini_parse("x", text, strlen(text), no_entry, NULL, &e));

	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
	config_init(&c);
	assert_true(config_read_file(&c, path, &e));
	config_done(&c);
	assert_int_equal(ftruncate(fd, 2 << 20), 0); // too long: what was read of it was read
	config_init(&c);
	assert_false(config_read_file(&c, path, &e));
	config_done(&c);
	assert_int_equal(count_freed(), 0);
	close(fd);
	unlink(path);
}

static void the_environment_is_overwritten(void **state)
{
	char dsn[] = "OUTBOXD_POSTGRES_DSN=password=" RIGHT, url[] = "OUTBOXD_ELASTICSEARCH_URL=http://x";
	char *envp[] = { dsn, url, NULL };
	struct config c;
	struct err e = { 0 };

	(void)state;
	config_init(&c);
	assert_true(config_read_env(&c, envp, &e));
	assert_string_equal(c.postgres_dsn, "password=" RIGHT);
	assert_null(memmem(dsn, sizeof(dsn), RIGHT, strlen(RIGHT)));
	assert_string_equal(url, "OUTBOXD_ELASTICSEARCH_URL=http://x");
	config_done(&c);
	assert_int_equal(count_freed(), 0);
}

// What could hold up the loop that reads it.
static void a_pipe_is_refused_at_once(void **state)
{
	char name[] = "/tmp/outboxd-test-XXXXXX", path[64];
	char *secret = NULL;
	struct err e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(name));
	snprintf(path, sizeof(path), "%s/pipe", name);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(config_read_secret(path, &secret, &e)); // nobody writes: to open it would wait for ever
	assert_non_null(strstr(e.text, "/pipe is not a regular file"));
	assert_null(secret);
	assert_false(config_read_secret(name, &secret, &e));
	unlink(path);
	rmdir(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_same_is_the_same),
		cmocka_unit_test(a_guess_takes_as_long_however_good_it_is),
		cmocka_unit_test(this_way_of_counting_finds_a_leak),
		cmocka_unit_test(this_way_of_looking_finds_a_leak),
		cmocka_unit_test(what_held_a_secret_is_overwritten),
		cmocka_unit_test(files_are_overwritten),
		cmocka_unit_test(the_environment_is_overwritten),
		cmocka_unit_test(a_pipe_is_refused_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
