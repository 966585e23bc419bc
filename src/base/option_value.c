// SPDX-License-Identifier: MIT
#include "base/parse.h"
#include "options.h"
#include "suggest.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

bool option_is_text(const struct option_row *o)
{
	return o->type == OPT_TEXT || o->type == OPT_SQL || o->type == OPT_PATH;
}

static bool parse_text(const struct option_row *o, const char *text, struct err *e)
{
	if (!*text && *o->def)
		return err_set(e, ERR_CONFIG, "must not be empty");
	for (const char *s = text; *s; s++) {
		if (o->type == OPT_SQL && (*s == '\n' || *s == '\t'))
			continue;
		if (*s == '\n')
			return err_set(e, ERR_CONFIG, "must be on one line");
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return err_set(e, ERR_CONFIG, "holds a control character (0x%02x)", (unsigned)*s);
	}
	return true;
}

static bool parse_choice(const struct option_row *o, const char *text, int64_t *ret_index, struct err *e)
{
	struct suggest near;
	suggest_init(&near, text);
	char choice[OPTION_NAME_SIZE];
	int64_t index = 0;
	for (const char *iter = o->choices; option_next_choice(&iter, choice); index++) {
		if (!strcmp(choice, text)) {
			*ret_index = index;
			return true;
		}
		suggest_offer(&near, choice);
	}
	return err_set(e, ERR_CONFIG, "\"%.60s\" is not known%s", text, suggest_text(&near));
}

// Only the notation, not the range.
static bool parse_number(const struct option_row *o, const char *text, int64_t *ret_number, struct err *e)
{
	bool flag = false;
	switch (o->type) {
	case OPT_CHOICE:
		return parse_choice(o, text, ret_number, e);
	case OPT_BOOL:
		if (!parse_bool(text, &flag, e))
			return false;
		*ret_number = flag;
		return true;
	case OPT_INT:
		return parse_int(text, ret_number, e);
	case OPT_SIZE:
		return parse_size(text, ret_number, e);
	case OPT_DURATION:
		return parse_duration_ms(text, ret_number, e);
	case OPT_TEXT:
	case OPT_SQL:
	case OPT_PATH:
		break;
	}
	assert(false && "texts are not numbers");
	return false;
}

static bool in_range(const struct option_row *o, int64_t number)
{
	int64_t min = INT64_MIN, max = INT64_MAX;
	bool known = (!*o->min || parse_number(o, o->min, &min, NULL)) &&
		     (!*o->max || parse_number(o, o->max, &max, NULL));
	assert(known); // else options.def is wrong
	return number >= min && number <= max;
}

// Adds what would have been right.
static bool refuse(const struct option_row *o, struct err *e, const struct err *why)
{
	auto_buf allowed;
	buf_init(&allowed, 512);
	option_allowed(o, &allowed);
	if (!allowed.len)
		return err_set(e, ERR_CONFIG, "%s", why->text);
	return err_set(e, ERR_CONFIG, "%s; allowed: %s", why->text, buf_str(&allowed));
}

bool option_parse(const struct option_row *o, const char *text, union option_value *ret_value, struct err *e)
{
	if (option_is_text(o)) {
		if (!parse_text(o, text, e))
			return false;
		ret_value->text = text;
		return true;
	}
	struct err why;
	int64_t number = 0;
	if (!*text)
		(void)err_set(&why, ERR_CONFIG, "must not be empty");
	else if (parse_number(o, text, &number, &why)) {
		if (in_range(o, number)) {
			ret_value->number = number;
			return true;
		}
		(void)err_set(&why, ERR_CONFIG, "\"%.60s\" is out of range", text);
	}
	return refuse(o, e, &why);
}

void option_store(const struct option_row *o, struct config *c, union option_value value)
{
	void *field = (char *)c + o->offset;
	switch (o->type) {
	case OPT_TEXT:
	case OPT_SQL:
	case OPT_PATH:
		*(const char **)field = value.text;
		break;
	case OPT_CHOICE:
		*(int *)field = (int)value.number;
		break;
	case OPT_BOOL:
		*(bool *)field = value.number;
		break;
	case OPT_INT:
	case OPT_SIZE:
	case OPT_DURATION:
		*(int64_t *)field = value.number;
		break;
	}
}

union option_value option_load(const struct option_row *o, const struct config *c)
{
	const void *field = (const char *)c + o->offset;
	union option_value value = { .number = 0 };
	switch (o->type) {
	case OPT_TEXT:
	case OPT_SQL:
	case OPT_PATH:
		value.text = *(const char *const *)field;
		break;
	case OPT_CHOICE:
		value.number = *(const int *)field;
		break;
	case OPT_BOOL:
		value.number = *(const bool *)field;
		break;
	case OPT_INT:
	case OPT_SIZE:
	case OPT_DURATION:
		value.number = *(const int64_t *)field;
		break;
	}
	return value;
}

bool option_url_has_user(const char *url)
{
	const char *scheme = strstr(url, "://");
	const char *authority = scheme ? scheme + 3 : url;
	return memchr(authority, '@', strcspn(authority, "/?#")) != NULL;
}

// A URL with a password in it is refused by config_check, but `outboxd config` may be asked before that.
static bool is_secret(const struct option_row *o, const char *text)
{
	if (!*text)
		return false;
	return (o->flags & OPTF_SECRET) ||
	       (o == &options[OPTION_elasticsearch_url] && option_url_has_user(text));
}

static void show_choice(const struct option_row *o, int64_t index, struct buf *out)
{
	char choice[OPTION_NAME_SIZE] = "";
	const char *iter = o->choices;
	for (int64_t i = 0; i <= index; i++)
		(void)option_next_choice(&iter, choice);
	buf_adds(out, choice);
}

void option_show(const struct option_row *o, const struct config *c, struct buf *out)
{
	union option_value value = option_load(o, c);
	char text[32] = "";
	switch (o->type) {
	case OPT_TEXT:
	case OPT_SQL:
	case OPT_PATH:
		buf_adds(out, is_secret(o, value.text) ? "********" : value.text);
		break;
	case OPT_CHOICE:
		show_choice(o, value.number, out);
		break;
	case OPT_BOOL:
		buf_adds(out, value.number ? "true" : "false");
		break;
	case OPT_INT:
		buf_addf(out, "%" PRId64, value.number);
		break;
	case OPT_SIZE:
		parse_format_size(value.number, text);
		buf_adds(out, text);
		break;
	case OPT_DURATION:
		parse_format_duration(value.number, text);
		buf_adds(out, text);
		break;
	}
}
