// SPDX-License-Identifier: MIT
// options.def as a table, and one option's value: reading, checking and showing it. Private to config*.c.
#ifndef OUTBOXD_BASE_OPTIONS_H
#define OUTBOXD_BASE_OPTIONS_H

#include "base/buf.h"
#include "base/config.h"

enum option_index {
#define OPTION(section, key, type, def, min, max, choices, flags, help) OPTION_##section##_##key,
#include "base/options.def"
#undef OPTION
	OPTION_COUNT
};

struct option_row {
	const char *section;
	const char *key;
	enum option_type type;
	const char *def;
	const char *min; // "" = none; like max in the notation of the option's values
	const char *max;
	const char *choices; // "a|b|c"
	unsigned flags;      // OPTF_*
	const char *help;
	size_t offset; // of the field in struct config
};
extern const struct option_row options[OPTION_COUNT];

enum { OPTION_NAME_SIZE = 64 }; // room for every name below, with the NUL
void option_flag_name(const struct option_row *o, char out[OPTION_NAME_SIZE]); // "relay-batch-rows"
void option_env_name(const struct option_row *o, char out[OPTION_NAME_SIZE]);  // "OUTBOXD_RELAY_BATCH_ROWS"

// Options of one section stand together: is this the first of its section?
bool option_starts_section(size_t index);
const char *option_section_help(const char *section); // a sentence

// Which of the choices, separated by |, starts at *iter; moves *iter on. False when there are no more.
bool option_next_choice(const char **iter, char out[OPTION_NAME_SIZE]);
// Adds "1 to 16", "a, b or c", "true or false", or nothing when anything goes.
void option_allowed(const struct option_row *o, struct buf *out);
const char *option_type_name(enum option_type type); // "duration"

union option_value {
	const char *text; // borrowed from what was parsed
	int64_t number;   // also choices and booleans
};
// Checks type, range and emptiness. The message (ERR_CONFIG) does not name the option; it never repeats the
// value of a text, which may be a secret.
bool option_parse(const struct option_row *o, const char *text, union option_value *ret_value,
		  struct err *e) must_check;

bool option_is_text(const struct option_row *o); // is its field a const char *?
void option_store(const struct option_row *o, struct config *c, union option_value value);
union option_value option_load(const struct option_row *o, const struct config *c);
// Adds the value in the notation it is written in. Secrets are masked.
void option_show(const struct option_row *o, const struct config *c, struct buf *out);

// Has the URL a user or password in front of its host?
bool option_url_has_user(const char *url);

#endif
