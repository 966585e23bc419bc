// SPDX-License-Identifier: MIT
#include "cmd/command.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cmd/progress.h"
#include "pg/overview.h"
#include "run/relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WORD_MAX ((size_t)1024 * 1024) // no kernel takes a longer one

static void show(void *arg, int64_t done)
{
	progress_show(arg, done);
}

// Somebody looks at the terminal: a bar instead of a line in the log every ten seconds.
static int run_watched(const struct call *call, const struct relay_start *start, struct err *e)
{
	struct err ignored = { 0 }; // a server that is away is the relay's matter
	struct desk *d = desk_open(call->config, &ignored);
	struct relay_start watched = *start;
	struct progress p;
	const struct relay_watcher watcher = { .show = show, .arg = &p };
	int code;

	progress_start(&p, "deliver", d ? overview_pending(d) : -1);
	desk_close(d);
	watched.watcher = &watcher;
	code = relay_run(&watched, e);
	progress_end(&p);
	return code;
}

struct arguments {
	char **word;
	size_t count;
};

static void add(struct arguments *a, char *word)
{
	a->word = mem_realloc(a->word, a->count + 2, sizeof(char *));
	a->word[a->count++] = word;
	a->word[a->count] = NULL;
}

static void add_setting(struct arguments *a, const char *name, const char *value)
{
	struct buf word;

	buf_init(&word, WORD_MAX);
	buf_addf(&word, "--%s=%s", name, value);
	add(a, buf_take(&word));
}

// Another command with the file and the flags of this process.
static struct arguments arguments_of(const struct call *call, const char *command)
{
	struct arguments a = { 0 };

	add(&a, mem_strdup("outboxd"));
	add(&a, mem_strdup(command));
	add(&a, mem_strdup("--json"));
	if (call->config_path)
		add_setting(&a, "config", call->config_path);
	for (int i = 0; i < call->setting_count; i++)
		add_setting(&a, call->setting_names[i], call->setting_values[i]);
	return a;
}

static struct arguments verify_arguments(const struct call *call)
{
	struct arguments a = arguments_of(call, "verify");
	char rate[24];

	snprintf(rate, sizeof(rate), "%" PRId64, call->config->verify_rate);
	add_setting(&a, "rate", rate);
	return a;
}

static void arguments_done(struct arguments *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->word[i]);
	free(a->word);
}

int cmd_run(const struct call *call, struct err *e)
{
	struct arguments verify = verify_arguments(call), sweep = arguments_of(call, "sweep");
	const struct relay_start start = {
		.config = call->config,
		.version = call->version,
		.once = call->once,
		.verify = verify.word,
		.sweep = sweep.word,
	};
	int code = call->once && progress_on_terminal() ? run_watched(call, &start, e) : relay_run(&start, e);

	arguments_done(&verify);
	arguments_done(&sweep);
	return code;
}
