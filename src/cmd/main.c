// SPDX-License-Identifier: MIT
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/protect.h"
#include "cmd/command.h"
#include "pg/dsn.h"
#include "pg/sslmode.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The command line while it is read. Settings are applied after file and environment.
struct line {
	const struct command *command;
	const char *config_path;
	const char **setting_names;
	const char **setting_values;
	int setting_count;
	const char **words;
	struct call *call;
	int command_at;
	bool help, version;
};

// Where the flags of commands go; --timeout has its own reader.
static const struct {
	const char *name;
	size_t at;
} switches[] = {
	{ "once", offsetof(struct call, once) },
	{ "print", offsetof(struct call, print) },
	{ "notify", offsetof(struct call, notify) },
	{ "partitioned", offsetof(struct call, partitioned) },
	{ "json", offsetof(struct call, json) },
	{ "all", offsetof(struct call, all) },
	{ "raise-sequence", offsetof(struct call, raise_sequence) },
	{ "dry-run", offsetof(struct call, dry_run) },
	{ "dead", offsetof(struct call, dead) },
	{ "document", offsetof(struct call, document) },
	{ "ready", offsetof(struct call, ready) },
	{ "always", offsetof(struct call, always) },
	{ "remove", offsetof(struct call, remove) },
	{ "restart", offsetof(struct call, restart) },
	{ "repair", offsetof(struct call, repair) },
	{ "abort", offsetof(struct call, abort) },
	{ "drop", offsetof(struct call, drop) },
}, texts[] = {
	{ "id", offsetof(struct call, ids) },
	{ "type", offsetof(struct call, type) },
	{ "index", offsetof(struct call, index) },
	{ "key", offsetof(struct call, key) },
	{ "older-than", offsetof(struct call, older_than) },
	{ "role", offsetof(struct call, role) },
	{ "document", offsetof(struct call, view) },
	{ "columns", offsetof(struct call, columns) },
	{ "when", offsetof(struct call, when) },
	{ "touches", offsetof(struct call, touches) },
	{ "truncate", offsetof(struct call, truncate) },
	{ "rate-bytes", offsetof(struct call, rate_bytes) },
	{ "sample", offsetof(struct call, sample) },
	{ "except", offsetof(struct call, except) },
	{ "to", offsetof(struct call, to) },
	{ "mapping", offsetof(struct call, mapping) },
}, numbers[] = {
	{ "limit", offsetof(struct call, limit) },
	{ "rate", offsetof(struct call, rate) },
	{ "ahead", offsetof(struct call, ahead) },
	{ "partition-rows", offsetof(struct call, partition_rows) },
};

static bool read_number(const char *name, const char *digits, long long *ret, struct err *e)
{
	char *end;

	errno = 0;
	*ret = strtoll(digits, &end, 10);
	if (*end || errno != 0 || *ret < 1)
		return err_set(e, ERR_USAGE, "--%s: \"%s\" is not a number above 0", name, digits);
	return true;
}

static bool command_flag(struct line *l, const char *name, const char *value, struct err *e)
{
	char *call = (char *)l->call;

	for (size_t i = 0; i < array_len(switches); i++) {
		if (strcmp(switches[i].name, name) == 0)
			*(bool *)(void *)(call + switches[i].at) = true;
	}
	for (size_t i = 0; i < array_len(texts); i++) {
		if (strcmp(texts[i].name, name) == 0)
			*(const char **)(void *)(call + texts[i].at) = value;
	}
	if (strcmp(name, "timeout") == 0)
		return parse_duration_ms(value ? value : "", &l->call->timeout_ms, e) ||
		       (err_prefix(e, "--timeout"), e->kind = ERR_USAGE, false);
	for (size_t i = 0; i < array_len(numbers); i++) {
		if (strcmp(numbers[i].name, name) == 0)
			return read_number(name, value ? value : "",
					   (long long *)(void *)(call + numbers[i].at), e);
	}
	return true;
}

// Does the word after --name belong to it? `command` NULL: not known yet, so by any command.
static bool takes_value(const struct command *command, const char *name)
{
	const struct flag *flag = command ? command_flag_find(command, name) : NULL;

	flag = flag ? flag : command_flag_find(NULL, name);

	if (flag)
		return flag->value_name != NULL;
	return strcmp(name, "config") == 0 || (config_flag_exists(name) && !config_flag_is_bool(name));
}

// The list of options knows the nearest name.
static bool refuse_flag(const char *name, struct err *e)
{
	struct config scratch;
	bool known, ok;

	config_init(&scratch);
	ok = config_set_flag(&scratch, name, "", &known, e);
	config_done(&scratch);
	return ok;
}

static bool is_flag(const char *name)
{
	return command_flag_find(NULL, name) || config_flag_exists(name) || strcmp(name, "config") == 0 ||
	       strcmp(name, "help") == 0 || strcmp(name, "version") == 0;
}

// The command is the first word, wherever it stands; what follows --name may be its value.
static bool find_command(struct line *l, char **argv, int argc, struct err *e)
{
	l->command = command_find("run");
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-') {
			const char *start = argv[i] + strspn(argv[i], "-");
			size_t len = strcspn(start, "=");
			auto_free char *name = mem_strndup(start, len);

			if (!is_flag(name))
				return refuse_flag(name, e);
			i += start[len] != '=' && takes_value(NULL, name);
			continue;
		}
		l->command = command_find(argv[i]);
		l->command_at = i;
		if (!l->command)
			return err_set(e, ERR_USAGE, "%s: no such command; see outboxd --help", argv[i]);
		return true;
	}
	return true;
}

// One --name[=value]; *i moves past a value that stands apart.
static bool read_flag(struct line *l, char **argv, int argc, int *i, struct err *e)
{
	char *name = argv[*i] + 2, *equals = strchr(name, '=');
	const char *value = NULL;

	if (equals) {
		*equals = '\0';
		value = equals + 1;
	} else if (takes_value(l->command, name)) {
		if (*i + 1 >= argc)
			return err_set(e, ERR_USAGE, "--%s needs a value", name);
		value = argv[++*i];
	}
	if (strcmp(name, "help") == 0)
		return l->help = true;
	if (strcmp(name, "version") == 0)
		return l->version = true;
	if (command_flag_find(l->command, name)) {
		if (value && !takes_value(l->command, name))
			return err_set(e, ERR_USAGE, "--%s takes no value", name);
		return command_flag(l, name, value, e);
	}
	if (strcmp(name, "config") == 0) {
		l->config_path = value;
		return true;
	}
	if (!config_flag_exists(name) && command_flag_find(NULL, name))
		return err_set(e, ERR_USAGE, "--%s: no such flag of `outboxd %s`; see outboxd --help", name,
			       l->command->name);
	l->setting_names[l->setting_count] = name;
	l->setting_values[l->setting_count++] = value ? value : "true";
	return true;
}

// The relay hands over what the mapping calls an id.
static bool is_negative_id(const struct line *l, const char *word)
{
	return l->command->run == cmd_sweep && strspn(word + 1, "0123456789") > 0;
}

static bool read_line(struct line *l, char **argv, int argc, struct err *e)
{
	if (!find_command(l, argv, argc, e))
		return false;
	for (int i = 1; i < argc; i++) {
		if (i == l->command_at)
			continue;
		if (strncmp(argv[i], "--", 2) == 0 && argv[i][2]) {
			if (!read_flag(l, argv, argc, &i, e))
				return false;
		} else if (argv[i][0] == '-' && !is_negative_id(l, argv[i])) {
			return err_set(e, ERR_USAGE, "%s: no such flag; see outboxd --help", argv[i]);
		} else if (l->call->word_count >= l->command->words) {
			return err_set(e, ERR_USAGE, "%s: one word too many; it is outboxd %s %s", argv[i],
				       l->command->name, l->command->usage);
		} else {
			l->words[l->call->word_count++] = argv[i];
		}
	}
	return true;
}

static bool load_config(struct config *config, const struct line *l, struct err *e)
{
	const char *path = l->config_path ? l->config_path : getenv("OUTBOXD_CONFIG");
	bool known;

	if (!path && access(DEFAULT_CONFIG, F_OK) == 0)
		path = DEFAULT_CONFIG;
	if (path && *path && !config_read_file(config, path, e))
		return false;
	if (!config_read_env(config, environ, e))
		return false;
	for (int i = 0; i < l->setting_count; i++) {
		if (!config_set_flag(config, l->setting_names[i], l->setting_values[i], &known, e))
			return false;
		if (!known)
			return err_set(e, ERR_USAGE, "--%s: no such flag of `outboxd %s`; see outboxd --help",
				       l->setting_names[i], l->command->name);
	}
	unsigned needs = l->call->print ? 0 : l->command->needs; // --print only prints

	return config_check(config, needs, e);
}

static int fail(const struct err *e)
{
	fprintf(stderr, "outboxd: %s\n", e->text);
	return err_exit_code(e->kind);
}

static int run_command(struct line *l, struct config *config)
{
	struct err e = { 0 };
	int code;

	if (!load_config(config, l, &e))
		return fail(&e);
	log_setup((enum log_format)config->log_format, (enum log_level)config->log_level);
	l->call->config = config;
	l->call->words = l->words;
	l->call->config_path = l->config_path;
	l->call->setting_names = l->setting_names;
	l->call->setting_values = l->setting_values;
	l->call->setting_count = l->setting_count;
	if ((l->command->needs & NEEDS_POSTGRES) && !dsn_check(config->postgres_dsn, &e))
		return fail(&e);
	sslmode_choose(config->postgres_dsn);
	code = l->command->run(l->call, &e);
	if (e.kind != ERR_NONE)
		fail(&e);
	return code;
}

int main(int argc, char **argv)
{
	size_t most = (size_t)argc + 1;
	auto_free const char **names = mem_calloc(most, sizeof(*names));
	auto_free const char **values = mem_calloc(most, sizeof(*values));
	auto_free const char **words = mem_calloc(most, sizeof(*words));
	struct call call = { .version = OUTBOXD_VERSION };
	struct line line = {
		.setting_names = names, .setting_values = values, .words = words, .call = &call
	};
	struct config config;
	struct err e = { 0 };
	int code;

	protect_memory();
	if (!read_line(&line, argv, argc, &e))
		return fail(&e);
	if (line.help) {
		command_print_help(stdout);
		return 0;
	}
	if (line.version) {
		command_print_version(stdout, OUTBOXD_VERSION);
		return 0;
	}
	config_init(&config);
	code = run_command(&line, &config);
	config_done(&config);
	return code;
}
