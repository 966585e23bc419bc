// SPDX-License-Identifier: MIT
// The table of commands, and what is printed from it.
#include "cmd/command.h"

#include <stdio.h>
#include <string.h>

static const struct flag run_flags[] = {
	{ "once", NULL,
	  "deliver what is there now, then exit (0 all delivered, 65 some events went dead, 75 events left)" },
	{ NULL, NULL, NULL },
};
static const struct flag init_flags[] = {
	{ "print", NULL, "only print the SQL" },
	{ "notify", NULL, "also install the trigger that wakes the relays at once" },
	{ "partitioned", NULL,
	  "make a new table in partitions: old ones are dropped by the relay, instead of deleted row by row" },
	{ "partition-rows", "N", "ids of each partition (1000000)" },
	{ "role", "NAME", "also make this login for the relay, with the least privileges that it needs" },
	{ NULL, NULL, NULL },
};
static const struct flag json_flags[] = {
	{ "json", NULL, "for programs" },
	{ NULL, NULL, NULL },
};
#define SELECTION_FLAGS                                                 \
	{ "id", "IDS", "these events: 12 or 12,15" },                   \
		{ "key", "ID", "events of the document with this id" }, \
		{ "type", "TYPE", "refused with this type of error" }, { "index", "NAME", "for this index" }

static const struct flag dead_flags[] = {
	SELECTION_FLAGS,
	{ "limit", "N", "at most so many (100)" },
	{ "document", NULL, "with a single id: show the document too" },
	{ "json", NULL, "for programs" },
	{ NULL, NULL, NULL },
};
static const struct flag requeue_flags[] = {
	SELECTION_FLAGS,
	{ "all", NULL, "every dead event" },
	{ "dry-run", NULL, "only say what would happen" },
	{ "json", NULL, "for programs" },
	{ NULL, NULL, NULL },
};
static const struct flag purge_flags[] = {
	{ "older-than", "DURATION", "12h or 30d (default: retention.keep)" },
	{ "dead", NULL, "delete events that were given up so long ago; needs --older-than" },
	{ "dry-run", NULL, "only say how many" },
	{ "json", NULL, "for programs" },
	{ NULL, NULL, NULL },
};
static const struct flag check_flags[] = {
	{ "raise-sequence", NULL, "after a failover or restore that lost ids: lift the sequence above them" },
	{ "json", NULL, "for programs" },
	{ NULL, NULL, NULL },
};

static const struct flag probe_flags[] = {
	{ "index", "NAME", "the index of its document (outboxd-probe)" },
	{ "timeout", "TIME", "how long delivery and search may take (30s)" },
	{ "json", NULL, "for programs" },
	{ NULL, NULL, NULL },
};

#define SOURCE_FLAGS                                                                                     \
	{ "index", "NAME", "the index of its documents" },                                               \
		{ "key", "COLUMN", "the id of a document: a unique column (default: the primary key)" }, \
		{ "document", "VIEW",                                                                    \
		  "a view with that column: its row, or its column `document`, is the document" },       \
		{ "columns", "A,B",                                                                      \
		  "only these columns are the document, and only their changes are events" },            \
		{ "when", "CONDITION", "over the row t: what does not fulfil it is not in the index" }

static const struct flag track_flags[] = {
	SOURCE_FLAGS,
	{ "touches", "TABLE.COLUMN,...",
	  "child tables, and which of their columns names the row that changes with them" },
	{ "truncate", "refuse|delete|query",
	  "TRUNCATE is an error, a delete of each document, or one delete_by_query of all (refuse)" },
	{ "always", NULL, "also what a subscription applies (session_replication_role = replica)" },
	{ "remove", NULL, "take the triggers away again" },
	{ "print", NULL, "only print the SQL" },
	{ "json", NULL, "for programs: the list" },
	{ NULL, NULL, NULL },
};

static const struct flag backfill_flags[] = {
	SOURCE_FLAGS,
	{ "rate", "ROWS", "at most so many a second" },
	{ "rate-bytes", "SIZE", "at most so much of documents a second: 5MB" },
	{ "ahead", "EVENTS",
	  "so many undelivered ones at most: what a live event may find before it (10000)" },
	{ "restart", NULL, "from the beginning, not from where it was interrupted" },
	{ "dry-run", NULL, "only count" },
	{ "json", NULL, "for programs" },
	{ NULL, NULL, NULL },
};

static const struct flag verify_flags[] = {
	SOURCE_FLAGS,
	{ "repair", NULL, "write an event for each difference" },
	{ "sample", "N%", "only so many of the keys, chosen by their hash" },
	{ "except", "FIELDS", "fields of the document that do not count: a,b" },
	{ "rate", "ROWS", "at most so many a second" },
	{ "timeout", "TIME", "how long the events of a document that differs may wait for delivery (60s)" },
	{ "json", NULL, "for programs" },
	{ NULL, NULL, NULL },
};

static const struct flag reindex_flags[] = {
	{ "to", "NAME", "the new index" },
	{ "mapping", "FILE",
	  "its settings and mappings, as PUT /NAME takes them; without it NAME may be there already" },
	{ "index", "ALIAS", "the alias that is searched: into which the table is tracked" },
	{ "rate", "ROWS", "fill and compare at most so many a second" },
	{ "ahead", "EVENTS", "as of backfill (10000)" },
	{ "except", "FIELDS", "as of verify" },
	{ "abort", NULL, "delete what was made so far; search stays as it was" },
	{ "drop", NULL, "delete what was replaced" },
	{ NULL, NULL, NULL },
};

static const struct flag health_flags[] = {
	{ "ready", NULL, "can it deliver events now? Not for what restarts it: an outage is no reason" },
	{ "timeout", "TIME", "how long the answer may take (2s)" },
	{ NULL, NULL, NULL },
};

static const struct command commands[] = {
	{ "run", "deliver events until stopped (the default)", "[--once]",
	  NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, 0, run_flags, cmd_run },
	{ "init", "create or upgrade the outbox table", "[--print] [--notify] [--partitioned] [--role NAME]",
	  NEEDS_POSTGRES, 0, init_flags, cmd_init },
	{ "status", "backlog, rate, dead events by reason, who holds lanes, who holds up vacuum", "[--json]",
	  NEEDS_POSTGRES, 0, json_flags, cmd_status },
	{ "dead", "list the events that were given up, or show one and how to mend it", "[IDS] [--json]",
	  NEEDS_POSTGRES, 1, dead_flags, cmd_dead },
	{ "requeue", "make dead events pending again", "IDS | --all | --type ...", NEEDS_POSTGRES, 1,
	  requeue_flags, cmd_requeue },
	{ "purge", "delete delivered rows that are old", "[--older-than DURATION]", NEEDS_POSTGRES, 0,
	  purge_flags, cmd_purge },
	{ "check", "look at both servers, table, mapping and indexes, and say what to do",
	  "[--raise-sequence] [--json]", NEEDS_POSTGRES, 0, check_flags, cmd_check },
	{ "probe", "send an event of its own through the whole path, with the time of each step",
	  "[--index NAME] [--timeout TIME] [--json]", NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, 0, probe_flags,
	  cmd_probe },
	{ "health", "ask the running relay whether it is alive: for HEALTHCHECK and probes of containers",
	  "[--ready] [--timeout TIME]", NEEDS_NO_SECRETS, 0, health_flags, cmd_health },
	{ "track", "install triggers that write the events of a table, or list what is tracked",
	  "[TABLE --index NAME | TABLE --remove]", NEEDS_POSTGRES, 1, track_flags, cmd_track },
	{ "backfill", "make events of the rows that a table has already, or list what was begun",
	  "[TABLE [--rate ROWS]]", NEEDS_POSTGRES, 1, backfill_flags, cmd_backfill },
	{ "verify",
	  "compare a table, or all that are tracked, with the index: what is missing, stale or should not be there",
	  "[TABLE] [--repair] [--sample N%]", NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, 1, verify_flags,
	  cmd_verify },
	{ "reindex", "fill another index while both are written, compare it, and move the alias to it",
	  "TABLE --to NAME [--mapping FILE] | TABLE --drop", NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, 1,
	  reindex_flags, cmd_reindex },
	{ "sweep",
	  "carry out a delete_by_query event that waits, as the relay has it done: outbox.delete_by_query",
	  "ID [--json]", NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, 1, json_flags, cmd_sweep },
	{ "config", "show each setting and where it comes from",
	  "[sample | reference | man | fsm | metrics | bash | zsh | fish] [--json]", 0, 1, json_flags,
	  cmd_config },
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < array_len(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

const struct command *command_at(size_t index)
{
	return index < array_len(commands) ? &commands[index] : NULL;
}

static const struct flag *find_in(const struct command *command, const char *name)
{
	for (const struct flag *f = command->flags; f->name; f++) {
		if (strcmp(f->name, name) == 0)
			return f;
	}
	return NULL;
}

const struct flag *command_flag_find(const struct command *command, const char *name)
{
	const struct flag *found = command ? find_in(command, name) : NULL;

	for (size_t i = 0; i < array_len(commands) && !command && !found; i++)
		found = find_in(&commands[i], name);
	return found;
}

void command_print_help(FILE *out)
{
	fprintf(out,
		"outboxd - delivers every committed event of a PostgreSQL outbox table to Elasticsearch or OpenSearch\n\n"
		"usage: outboxd [COMMAND] [--config FILE] [--SECTION-KEY VALUE ...]\n\ncommands:\n");
	for (size_t i = 0; i < array_len(commands); i++) {
		fprintf(out, "  %-8s %-34s %s\n", commands[i].name, commands[i].usage, commands[i].summary);
		for (const struct flag *f = commands[i].flags; f->name; f++)
			fprintf(out, "             --%s%s%s: %s\n", f->name, f->value_name ? " " : "",
				f->value_name ? f->value_name : "", f->help);
	}
	fprintf(out,
		"\ngeneral flags:\n"
		"  --config FILE   configuration file (%s when it exists; OUTBOXD_CONFIG)\n"
		"  --help, --version\n\n"
		"settings (also in the file as [section] key = value, or as OUTBOXD_SECTION_KEY):\n",
		DEFAULT_CONFIG);
	config_print_flags(out);
}

// groff reads a leading . or ' as a request and a backslash as an escape.
static void put_man(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '-' || *text == '\\')
			fputc('\\', out);
		if (*text != '\\')
			fputc(*text, out);
		else
			fputc('e', out);
	}
}

static void print_man_commands(FILE *out)
{
	for (size_t i = 0; i < array_len(commands); i++) {
		fprintf(out, ".TP\n.B %s ", commands[i].name);
		put_man(out, commands[i].usage);
		fputc('\n', out);
		put_man(out, commands[i].summary);
		fputc('\n', out);
		for (const struct flag *f = commands[i].flags; f->name; f++) {
			fputs(".br\n", out);
			put_man(out, "--");
			put_man(out, f->name);
			fprintf(out, "%s%s: ", f->value_name ? " " : "", f->value_name ? f->value_name : "");
			put_man(out, f->help);
			fputc('\n', out);
		}
	}
}

void command_print_man(FILE *out, const char *version)
{
	fprintf(out,
		".TH OUTBOXD 8 \"\" \"outboxd %s\"\n.SH NAME\noutboxd \\- transactional outbox relay from PostgreSQL to "
		"Elasticsearch\n.SH SYNOPSIS\n.B outboxd\n[\\fICOMMAND\\fR] [\\fB\\-\\-config\\fR \\fIFILE\\fR] "
		"[\\fB\\-\\-\\fISECTION\\-KEY\\fR \\fIVALUE\\fR ...]\n.SH DESCRIPTION\nDelivers every committed event of a "
		"PostgreSQL outbox table to Elasticsearch or OpenSearch, once in effect, in order per document.\n"
		".SH COMMANDS\n",
		version);
	print_man_commands(out);
	fputs(".SH GENERAL FLAGS\n.TP\n.B \\-\\-config FILE\nThe configuration file; without this flag the one that the "
	      "environment variable OUTBOXD_CONFIG names, or else " DEFAULT_CONFIG " when it exists.\n"
	      ".TP\n.B \\-\\-help\nCommands, flags and settings, with defaults.\n"
	      ".TP\n.B \\-\\-version\nThe version, and those of the libraries.\n",
	      out);
	fputs(".SH SETTINGS\nEach is a flag, an environment variable OUTBOXD_SECTION_KEY, or a key in a [section] of the "
	      "file.\n",
	      out);
	config_print_man(out);
	fputs(".SH EXIT STATUS\n0: fine; with \\-\\-once: all delivered.\n.br\n64: wrong use of the command line.\n.br\n"
	      "65: \\-\\-once drained the table, but some events went dead.\n.br\n"
	      "75: events are left, or a server is away.\n.br\n77: a server refused.\n.br\n78: configuration.\n"
	      ".SH SIGNALS\nTERM and INT finish what is in flight within relay.shutdown_timeout; a second one ends at once. "
	      "USR1 logs the state of the workers.\n.SH FILES\n"
	      ".TP\n.I " DEFAULT_CONFIG "\nThe configuration.\n"
	      ".TP\n.I /etc/outboxd/outboxd.env\nWhat only root may read: settings of the service as "
	      "OUTBOXD_SECTION_KEY=value, PGPASSWORD and the like.\n"
	      ".TP\n.I /etc/outboxd/NAME.conf, /etc/outboxd/NAME.env\nThe same two of the instance outboxd@NAME.\n",
	      out);
}
