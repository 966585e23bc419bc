// SPDX-License-Identifier: MIT
#include "run/verifier.h"

#include "base/log.h"
#include "base/mem.h"
#include "run/health.h"
#include "run/state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "/proc/self/exe" // this very version, also after an upgrade
#define FIRST_MS 300000
#define AGAIN_MS 60000 // events wait anyway now: later
#define SAID_MAX 4096
#define DIFFERENCES 3 // labels of the metric

struct verifier {
	struct relay *relay;
	char *const *command;
	ev_timer timer;
	ev_child child;
	pid_t pid;                // 0 = none runs
	int report_fd, errors_fd; // what it says, in memory; -1 = none
	int64_t begun_ms;
	json_t *tables; // of the last report that was read; NULL = none
	json_t *found;  // by table and index: what its last comparison found
	int64_t ended_ms;
};

static void plan(struct verifier *v, int64_t after_ms)
{
	ev_timer_stop(v->relay->loop, &v->timer);
	ev_timer_set(&v->timer, (double)after_ms / 1000.0, 0.);
	ev_timer_start(v->relay->loop, &v->timer);
}

static void forget_files(struct verifier *v)
{
	if (v->report_fd >= 0)
		close(v->report_fd);
	if (v->errors_fd >= 0)
		close(v->errors_fd);
	v->report_fd = v->errors_fd = -1;
}

static void failed(struct verifier *v, const char *table, const char *error)
{
	health_trouble(v->relay, TROUBLE_VERIFY, "verify_failed", error);
	log_warn("verify_failed", kv_str("table", table), kv_str("error", error),
		 kv_str("then", "the next one comes after verify.interval"));
}

// -- what it says

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

static json_int_t number(const json_t *table, const char *name)
{
	return json_integer_value(json_object_get(table, name));
}

static const char *text(const json_t *table, const char *name)
{
	const char *value = json_string_value(json_object_get(table, name));

	return value ? value : "";
}

struct sums {
	json_int_t tables, rows, differences, waiting;
	bool all; // no table was left out
};

// Each table's own numbers are kept: one that cannot be compared now is not right for that.
static void add_table(struct verifier *v, const json_t *table, json_t *found, struct sums *sums)
{
	json_int_t missing = number(table, "missing"), stale = number(table, "stale"),
		   extra = number(table, "extra");
	const char *error = text(table, "error"), *left_out = text(table, "left_out");
	struct err name;

	err_set(&name, ERR_NONE, "%s %s", text(table, "table"), text(table, "index"));
	sums->tables++;
	if (*error || *left_out) {
		sums->all = false;
		if (*error)
			failed(v, text(table, "table"), error);
		else
			log_info("verify_left_out", kv_str("table", text(table, "table")),
				 kv_str("why", left_out));
		json_object_set(found, name.text, json_object_get(v->found, name.text));
		return;
	}
	json_object_set_new(found, name.text, json_pack("[I, I, I]", missing, stale, extra));
	sums->rows += number(table, "rows");
	sums->waiting += number(table, "waiting");
	sums->differences += missing + stale + extra;
	if (missing + stale + extra > 0)
		log_warn("index_differs", kv_str("table", text(table, "table")), kv_int("missing", missing),
			 kv_int("stale", stale), kv_int("extra", extra),
			 kv_str("see", "outboxd verify TABLE; --repair mends it"));
}

static void set_differences(const struct verifier *v)
{
	for (int d = 0; d < DIFFERENCES; d++) {
		json_int_t sum = 0;

		for (void *at = json_object_iter(v->found); at; at = json_object_iter_next(v->found, at))
			sum += json_integer_value(json_array_get(json_object_iter_value(at), (size_t)d));
		metrics_set(&v->relay->health.metrics, METRIC_DIFFERENCES, d, (double)sum);
	}
}

static void take(struct verifier *v, json_t *tables)
{
	struct metrics *m = &v->relay->health.metrics;
	struct sums sums = { .all = true };
	json_t *found = json_object();
	double seconds;

	for (size_t i = 0; i < json_array_size(tables); i++)
		add_table(v, json_array_get(tables, i), found, &sums);
	json_decref(v->found);
	json_decref(v->tables);
	v->found = found;
	v->tables = tables;
	v->ended_ms = clock_boot_ms();
	seconds = (double)(v->ended_ms - v->begun_ms) / 1000.0;
	set_differences(v);
	metrics_set(m, METRIC_VERIFY_SECONDS, 0, seconds);
	if (sums.all)
		metrics_set(m, METRIC_VERIFIED, 0, (double)clock_wall_us() / 1e6);
	log_info("verified", kv_int("tables", sums.tables), kv_int("rows", sums.rows),
		 kv_int("differences", sums.differences), kv_int("waiting", sums.waiting),
		 kv_real("seconds", seconds));
}

json_t *verifier_report(const struct verifier *v)
{
	if (!v || !v->tables)
		return json_null();
	return json_pack("{s:f, s:O}", "ended_seconds_ago", (double)(clock_boot_ms() - v->ended_ms) / 1000.0,
			 "tables", v->tables);
}

// -- the process

static void on_end(struct ev_loop *loop, ev_child *child, int revents)
{
	struct verifier *v = child->data;
	auto_free char *said = read_end(v->errors_fd, SAID_MAX);
	auto_free char *report = read_end(v->report_fd, SIZE_MAX - 1);
	const char *why = last_line(said);
	json_t *tables = json_loads(report, 0, NULL);
	struct err e;

	(void)revents;
	ev_child_stop(loop, child);
	v->pid = 0;
	forget_files(v);
	if (v->relay->stopping) {
		json_decref(tables); // whoever stops us stops it, too
		return;
	}
	if (json_is_array(tables)) {
		take(v, tables);
	} else {
		json_decref(tables);
		err_set(&e, ERR_UNAVAILABLE, "%s %d%s%s",
			WIFSIGNALED(child->rstatus) ? "ended by signal" : "exit code",
			WIFSIGNALED(child->rstatus) ? WTERMSIG(child->rstatus) : WEXITSTATUS(child->rstatus),
			*why ? ": " : "", why);
		failed(v, "", e.text);
	}
	plan(v, v->relay->config->verify_interval);
}

// The database's address again: config.c has wiped it where it came from. The caller frees the list, and wipes its first text.
static char **environment(const struct verifier *v)
{
	static const char name[] = "OUTBOXD_POSTGRES_DSN=";
	const char *dsn = v->relay->config->postgres_dsn;
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
static int spawn(struct verifier *v)
{
	char **list = environment(v);
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
	posix_spawn_file_actions_adddup2(&files, v->report_fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, v->errors_fd, STDERR_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	failure = posix_spawn(&v->pid, PROGRAM, &files, &how, v->command, list);
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

static void begin(struct verifier *v)
{
	int failure;

	v->begun_ms = clock_boot_ms();
	v->report_fd = memory_file("outboxd-report");
	v->errors_fd = memory_file("outboxd-errors");
	failure = v->report_fd < 0 || v->errors_fd < 0 ? errno : spawn(v);
	if (failure != 0) {
		v->pid = 0;
		forget_files(v);
		failed(v, "", strerror(failure));
		plan(v, v->relay->config->verify_interval);
		return;
	}
	ev_child_set(&v->child, v->pid, 0);
	ev_child_start(v->relay->loop, &v->child);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct verifier *v = timer->data;
	const struct relay *r = v->relay;

	(void)loop;
	(void)revents;
	if (r->elasticsearch.open || r->postgres.open || r->sql.open || r->unfit || r->on_hold)
		plan(v, AGAIN_MS < r->config->verify_interval ? AGAIN_MS : r->config->verify_interval);
	else if (!r->stopping)
		begin(v);
}

struct verifier *verifier_new(struct relay *r, char *const *command)
{
	struct verifier *v = mem_calloc(1, sizeof(*v));
	int64_t interval_ms = r->config->verify_interval;

	v->relay = r;
	v->command = command;
	v->report_fd = v->errors_fd = -1;
	ev_init(&v->timer, on_timer);
	ev_init(&v->child, on_end);
	v->timer.data = v->child.data = v;
	metrics_set(&r->health.metrics, METRIC_VERIFY_INTERVAL, 0, (double)interval_ms / 1000.0);
	plan(v, FIRST_MS < interval_ms ? FIRST_MS : interval_ms);
	return v;
}

void verifier_free(struct verifier *v)
{
	if (!v)
		return;
	ev_timer_stop(v->relay->loop, &v->timer);
	ev_child_stop(v->relay->loop, &v->child);
	if (v->pid > 0)
		kill(v->pid, SIGTERM);
	forget_files(v);
	json_decref(v->tables);
	json_decref(v->found);
	free(v);
}
