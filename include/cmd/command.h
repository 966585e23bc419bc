// SPDX-License-Identifier: MIT
// A command is a record; main.c has the table, which is the dispatcher and the help at once.
#ifndef OUTBOXD_CMD_COMMAND_H
#define OUTBOXD_CMD_COMMAND_H

#include "base/config.h"
#include "base/err.h"
#include "pg/mend.h"
#include "pg/source.h"

#include <stdbool.h>
#include <stdio.h>

#define DEFAULT_CONFIG "/etc/outboxd/outboxd.conf"

// What a command was called with, besides the configuration.
struct call {
	const struct config *config;
	const char *version;
	// As they were given, for whoever calls the program again; config_path NULL = not given.
	const char *config_path;
	const char *const *setting_names, *const *setting_values;
	int setting_count;
	bool once, print, notify, partitioned, json, all, raise_sequence, dry_run, dead, document, ready,
		always, remove, restart, repair, abort, drop;
	// NULL = not given:
	const char *ids; // "12,15"
	const char *type, *index, *key;
	const char *older_than;
	const char *role;
	const char *view, *columns, *when, *touches, *truncate; // of track
	const char *rate_bytes, *sample, *except;
	const char *to, *mapping;                     // of reindex
	long long limit, rate, ahead, partition_rows; // 0 = not given
	int64_t timeout_ms;                           // 0 = not given
	const char *const *words;                     // the rest of the command line
	int word_count;
};

struct flag {
	const char *name;       // without dashes
	const char *value_name; // NULL = takes no value
	const char *help;
};

struct command {
	const char *name;
	const char *summary;
	const char *usage;        // after the name
	unsigned needs;           // NEEDS_*: the servers whose addresses must be known
	int words;                // at most so many words after the name
	const struct flag *flags; // ends with a NULL name
	// Returns the exit code; with *e filled, main prints the sentence.
	int (*run)(const struct call *call, struct err *e);
};

const struct command *command_find(const char *name); // NULL = no such command
const struct command *command_at(size_t index);       // NULL past the last one
// The flag of a command, or of any command when that is NULL; NULL = no such flag.
const struct flag *command_flag_find(const struct command *command, const char *name);
// The dead events that --id (or the word), --key, --type and --index name.
struct selection command_selection(const struct call *call);
// The table that the word, --index, --key, --document, --columns and --when describe.
struct source_spec command_source(const struct call *call);
void command_print_help(FILE *out);
void command_print_man(FILE *out, const char *version);     // docs/outboxd.8
void command_print_version(FILE *out, const char *version); // and those of the libraries, one a line

// The words of `outboxd config WORD`; NULL past the last one.
const char *config_text_name(size_t index);
// What a shell sources, so that Tab knows commands, flags and values.
void completion_print_bash(FILE *out);
void completion_print_zsh(FILE *out);
void completion_print_fish(FILE *out);

int cmd_run(const struct call *call, struct err *e);
int cmd_init(const struct call *call, struct err *e);
int cmd_status(const struct call *call, struct err *e);
int cmd_dead(const struct call *call, struct err *e);
int cmd_requeue(const struct call *call, struct err *e);
int cmd_purge(const struct call *call, struct err *e);
int cmd_check(const struct call *call, struct err *e);
int cmd_probe(const struct call *call, struct err *e);
int cmd_health(const struct call *call, struct err *e);
int cmd_track(const struct call *call, struct err *e);
int cmd_backfill(const struct call *call, struct err *e);
int cmd_verify(const struct call *call, struct err *e);
int cmd_reindex(const struct call *call, struct err *e);
int cmd_sweep(const struct call *call, struct err *e);
int cmd_config(const struct call *call, struct err *e);

#endif
