// SPDX-License-Identifier: MIT
// The configuration: one list (options.def) feeds this struct, the file, the environment, the flags, --help,
// the sample file and docs/CONFIGURATION.md. Precedence: flag > environment > file > default.
#ifndef OUTBOXD_BASE_CONFIG_H
#define OUTBOXD_BASE_CONFIG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_type {
	OPT_TEXT,     // const char *, "" when not set
	OPT_SQL,      // const char *, an SQL expression over the row `o`; "" = the preset's
	OPT_PATH,     // const char *, a file; "" when not set. With OPTF_SECRET_FILE it must be readable
	OPT_CHOICE,   // int, index into `choices` ("a|b|c")
	OPT_BOOL,     // bool
	OPT_INT,      // int64_t
	OPT_SIZE,     // int64_t, bytes
	OPT_DURATION, // int64_t, milliseconds
};

enum option_flag {
	OPTF_SECRET = 1,      // printed as ********; its flag is refused when it holds a password
	OPTF_SECRET_FILE = 2, // names a file that holds a secret: must exist and be readable when set
	OPTF_REQUIRED = 4,    // must not be empty for commands that connect
};

enum origin { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENV, ORIGIN_FLAG };

// Field types of the struct, by option type.
#define CONFIG_FIELD_OPT_TEXT(name) const char *name;
#define CONFIG_FIELD_OPT_SQL(name) const char *name;
#define CONFIG_FIELD_OPT_PATH(name) const char *name;
#define CONFIG_FIELD_OPT_CHOICE(name) int name;
#define CONFIG_FIELD_OPT_BOOL(name) bool name;
#define CONFIG_FIELD_OPT_INT(name) int64_t name;
#define CONFIG_FIELD_OPT_SIZE(name) int64_t name;
#define CONFIG_FIELD_OPT_DURATION(name) int64_t name;

// config->postgres_dsn, config->relay_batch_rows, ...: section_key. Durations are milliseconds, sizes bytes.
struct config {
#define OPTION(section, key, type, def, min, max, choices, flags, help) CONFIG_FIELD_##type(section##_##key)
#include "base/options.def"
#undef OPTION
	struct config_state *state; // origins and owned texts; private to config.c
};

// Values of the OPT_CHOICE options, in the order of their `choices` in options.def.
enum outbox_preset { PRESET_DOCUMENT, PRESET_EVENTS, PRESET_DEBEZIUM };
enum outbox_deletes { DELETES_DELETE, DELETES_TOMBSTONE };
enum es_aws_service { AWS_ES, AWS_AOSS };
enum es_compression { COMPRESSION_OFF, COMPRESSION_GZIP };

void config_init(struct config *c); // all defaults
void config_done(struct config *c);

// The three sources. Each error names the place (file:line, variable or flag), what is wrong and what is
// allowed; for an unknown key the nearest known one is suggested. Later calls win over earlier ones only by
// precedence, not by order of calls.
bool config_read_file(struct config *c, const char *path, struct err *e) must_check;
// Looks at every OUTBOXD_* variable of envp; an unknown one is an error, but OUTBOXD_CONFIG is skipped, and
// so are OUTBOXD_SERVICE_* and OUTBOXD_PORT*, which Kubernetes sets for a Service called outboxd. Values of OPTF_SECRET are
// overwritten there once they are read.
bool config_read_env(struct config *c, char *const *envp, struct err *e) must_check;
// One flag without its dashes: "relay-batch-rows" and its value (NULL = none, which is true for a boolean).
// No such option: false, *e suggests the nearest one, and *ret_known is false (it is always written).
bool config_set_flag(struct config *c, const char *name, const char *value, bool *ret_known,
		     struct err *e) must_check;
// Is the option of that flag a boolean (so that --flag alone means true)?
bool config_flag_is_bool(const char *name);
bool config_flag_exists(const char *name);

// What concerns more than one option, and what OPTF_* ask for (required values of the servers that are needed, secret files
// readable, no user:password in elasticsearch.url, username with password_file, ...).
enum {
	NEEDS_POSTGRES = 1,
	NEEDS_ELASTICSEARCH = 2,
	NEEDS_NO_SECRETS = 4, // whoever calls need not be allowed to read their files
};
bool config_check(const struct config *c, unsigned needs, struct err *e) must_check;

const char *config_path(const struct config *c); // of the file that was read; NULL = none
enum origin config_origin(const struct config *c, const char *section, const char *key);

// Reads a secret file: its content without the trailing newline; a regular file of at most 64 kB, one line, not empty. The
// caller owns *ret_text and clears it with config_secret_free.
bool config_read_secret(const char *path, char **ret_text, struct err *e) must_check;
void config_secret_free(char *text); // overwrites before freeing; NULL is fine

// An option as a shell completes it.
struct config_flag {
	char name[64]; // without dashes
	const char *help;
	const char *choices; // "a|b|c", or "" when anything may follow
	enum option_type type;
};
bool config_flag_at(size_t index, struct config_flag *ret_flag); // false past the last one

// Everything below is printed from the same list.
void config_print(const struct config *c, FILE *out); // section.key = value  # origin
void config_print_json(const struct config *c, FILE *out);
void config_print_flags(FILE *out);     // the options part of --help
void config_print_sample(FILE *out);    // packaging/outboxd.conf
void config_print_man(FILE *out);       // the options part of docs/outboxd.8
void config_print_reference(FILE *out); // docs/CONFIGURATION.md

#endif
