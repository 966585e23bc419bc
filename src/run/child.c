// SPDX-License-Identifier: MIT
#include "run/child.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "/proc/self/exe" // this very version, also after an upgrade
#define SAID_MAX 4096

static void forget_files(struct child *c)
{
	if (c->report_fd >= 0)
		close(c->report_fd);
	if (c->errors_fd >= 0)
		close(c->errors_fd);
	c->report_fd = c->errors_fd = -1;
}

// The last `most` bytes. The caller owns the text.
static char *read_end(int fd, size_t most)
{
	struct stat file;
	size_t size = fstat(fd, &file) == 0 ? (size_t)file.st_size : 0, len = size < most ? size : most,
	       got = 0;
	char *end = mem_calloc(1, len + 1);

	while (got < len) {
		ssize_t n = pread(fd, end + got, len - got, (off_t)(size - len + got));

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	end[got] = '\0';
	return end;
}

static const char *last_line(char *said)
{
	size_t len = strlen(said);
	char *newline;

	while (len > 0 && said[len - 1] == '\n')
		said[--len] = '\0';
	newline = strrchr(said, '\n');
	return newline ? newline + 1 : said;
}

static void on_end(struct ev_loop *loop, ev_child *watcher, int revents)
{
	struct child *c = watcher->data;
	auto_free char *said = read_end(c->errors_fd, SAID_MAX);
	auto_free char *text = read_end(c->report_fd, SIZE_MAX - 1);
	const char *why = last_line(said);
	json_t *report = json_loads(text, 0, NULL);
	int status = watcher->rstatus;
	struct err e;

	(void)revents;
	ev_child_stop(loop, watcher);
	c->pid = 0;
	forget_files(c);
	err_set(&e, ERR_UNAVAILABLE, "%s %d%s%s", WIFSIGNALED(status) ? "ended by signal" : "exit code",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), *why ? ": " : "", why);
	c->ended(c->arg, report, e.text);
	json_decref(report);
}

// The database's address again: config.c has wiped it where it came from. The caller frees the list, and wipes its first text.
static char **environment(const char *dsn)
{
	static const char name[] = "OUTBOXD_POSTGRES_DSN=";
	size_t count = 0, n = 1;
	char **list, *first = mem_calloc(1, sizeof(name) + strlen(dsn));

	while (environ[count])
		count++;
	list = mem_calloc(count + 2, sizeof(char *));
	memcpy(first, name, sizeof(name) - 1);
	memcpy(first + sizeof(name) - 1, dsn, strlen(dsn));
	list[0] = first;
	for (size_t i = 0; i < count; i++) {
		if (strncmp(environ[i], name, sizeof(name) - 1) != 0)
			list[n++] = environ[i];
	}
	return list;
}

// Only the three files below are handed on: not the sessions of the relay.
static int spawn(struct child *c, char *const *command, const char *dsn)
{
	char **list = environment(dsn);
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	sigset_t none, all;
	int failure;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&how, &none);
	posix_spawnattr_setsigdefault(&how, &all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, c->report_fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, c->errors_fd, STDERR_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	failure = posix_spawn(&c->pid, PROGRAM, &files, &how, command, list);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&how);
	explicit_bzero(list[0], strlen(list[0])); // the child has its copy by now
	free(list[0]);
	free(list);
	return failure;
}

static int memory_file(const char *name)
{
#ifdef MFD_NOEXEC_SEAL // vm.memfd_noexec = 2 takes no other, and an older kernel does not know it
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	if (fd >= 0 || errno != EINVAL)
		return fd;
#endif
	return memfd_create(name, MFD_CLOEXEC);
}

void child_init(struct child *c, struct ev_loop *loop, child_callback *ended, void *arg)
{
	*c = (struct child){ .loop = loop, .report_fd = -1, .errors_fd = -1, .ended = ended, .arg = arg };
	ev_init(&c->watcher, on_end);
	c->watcher.data = c;
}

int child_begin(struct child *c, char *const *command, const char *dsn)
{
	int failure;

	c->asked = false;
	c->report_fd = memory_file("outboxd-report");
	c->errors_fd = memory_file("outboxd-errors");
	failure = c->report_fd < 0 || c->errors_fd < 0 ? errno : spawn(c, command, dsn);
	if (failure != 0) {
		c->pid = 0;
		forget_files(c);
		return failure;
	}
	ev_child_set(&c->watcher, c->pid, 0);
	ev_child_start(c->loop, &c->watcher);
	return 0;
}

bool child_runs(const struct child *c)
{
	return c->pid > 0;
}

void child_ask_to_end(struct child *c)
{
	if (c->pid > 0 && !c->asked)
		kill(c->pid, SIGTERM);
	c->asked = true;
}

void child_done(struct child *c)
{
	ev_child_stop(c->loop, &c->watcher);
	child_ask_to_end(c);
	forget_files(c);
}

const char *report_text(const json_t *report, const char *name)
{
	const char *value = json_string_value(json_object_get(report, name));

	return value ? value : "";
}

int64_t report_number(const json_t *report, const char *name)
{
	return json_integer_value(json_object_get(report, name));
}
