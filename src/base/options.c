// SPDX-License-Identifier: MIT
#include "options.h"

#include "base/parse.h"
#include "suggest.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

const struct option_row options[OPTION_COUNT] = {
#define OPTION(section, key, type, def, min, max, choices, flags, help)                  \
	{                                                                                \
		#section, #key,    type,  def,  min,                                     \
		max,      choices, flags, help, offsetof(struct config, section##_##key) \
	},
#include "base/options.def"
#undef OPTION
};

static const struct {
	const char *section;
	const char *help;
} section_helps[] = {
	{ "postgres", "The database that holds the outbox table." },
	{ "outbox",
	  "The table, and what its columns mean. Each mapping is an SQL expression over the row `o`; "
	  "what is not set comes from the preset." },
	{ "elasticsearch", "Where the documents go: Elasticsearch or OpenSearch." },
	{ "relay", "How much is moved at a time, and when." },
	{ "retry", "What happens after a refusal or an outage." },
	{ "retention", "What happens to rows that are delivered." },
	{ "verify", "Whether the indexes are what the tracked tables say, asked from time to time." },
	{ "admin", "The HTTP interface for metrics, health and control." },
	{ "log", "Messages on standard error." },
};

void option_flag_name(const struct option_row *o, char out[OPTION_NAME_SIZE])
{
	int len = snprintf(out, OPTION_NAME_SIZE, "%s-%s", o->section, o->key);
	assert(len < OPTION_NAME_SIZE);
	for (char *p = out; *p; p++)
		if (*p == '_')
			*p = '-';
}

void option_env_name(const struct option_row *o, char out[OPTION_NAME_SIZE])
{
	int len = snprintf(out, OPTION_NAME_SIZE, "OUTBOXD_%s_%s", o->section, o->key);
	assert(len < OPTION_NAME_SIZE);
	for (char *p = out; *p; p++)
		*p = (char)toupper((unsigned char)*p);
}

bool option_starts_section(size_t index)
{
	return index == 0 || strcmp(options[index].section, options[index - 1].section) != 0;
}

const char *option_section_help(const char *section)
{
	for (size_t i = 0; i < array_len(section_helps); i++)
		if (!strcmp(section_helps[i].section, section))
			return section_helps[i].help;
	return "";
}

bool config_flag_at(size_t index, struct config_flag *ret_flag)
{
	static_assert(sizeof(ret_flag->name) == OPTION_NAME_SIZE, "the same names");
	if (index >= OPTION_COUNT)
		return false;
	const struct option_row *o = &options[index];
	option_flag_name(o, ret_flag->name);
	ret_flag->help = o->help;
	ret_flag->choices = o->type == OPT_BOOL ? "true|false" : o->choices;
	ret_flag->type = o->type;
	return true;
}

bool option_next_choice(const char **iter, char out[OPTION_NAME_SIZE])
{
	if (!**iter)
		return false;
	size_t len = strcspn(*iter, "|");
	assert(len < OPTION_NAME_SIZE);
	memcpy(out, *iter, len);
	out[len] = '\0';
	*iter += len + ((*iter)[len] == '|');
	return true;
}

// "a|b|c" -> "a, b or c"
static void list_choices(const char *choices, struct buf *out)
{
	char choice[OPTION_NAME_SIZE];
	for (const char *iter = choices; option_next_choice(&iter, choice);) {
		if (out->len)
			buf_adds(out, *iter ? ", " : " or ");
		buf_adds(out, choice);
	}
}

void option_allowed(const struct option_row *o, struct buf *out)
{
	if (o->type == OPT_CHOICE)
		list_choices(o->choices, out);
	else if (o->type == OPT_BOOL)
		buf_adds(out, "true or false");
	else if (*o->min && *o->max)
		buf_addf(out, "%s to %s", o->min, o->max);
	else if (*o->min)
		buf_addf(out, "at least %s", o->min);
	else if (*o->max)
		buf_addf(out, "at most %s", o->max);
}

const char *option_type_name(enum option_type type)
{
	static const char *const names[] = {
		[OPT_TEXT] = "text",     [OPT_SQL] = "SQL expression", [OPT_PATH] = "path",
		[OPT_CHOICE] = "choice", [OPT_BOOL] = "boolean",       [OPT_INT] = "whole number",
		[OPT_SIZE] = "size",     [OPT_DURATION] = "duration",
	};
	return names[type];
}
