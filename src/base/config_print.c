// SPDX-License-Identifier: MIT
// The values of a configuration, for people and for programs.
#include "base/config.h"

#include "config_state.h"
#include "quote.h"

#include <string.h>

// No value is longer than the file or an environment variable may be; escaping makes six bytes of one.
enum { PRINT_MAX = 64 << 20 };

static const char *const origin_names[] = {
	[ORIGIN_DEFAULT] = "default",
	[ORIGIN_FILE] = "file",
	[ORIGIN_ENV] = "environment",
	[ORIGIN_FLAG] = "flag",
};

static void put(const struct buf *b, FILE *out)
{
	fwrite(buf_str(b), 1, b->len, out);
}

void config_print(const struct config *c, FILE *out)
{
	auto_buf value, place;
	buf_init(&value, PRINT_MAX);
	buf_init(&place, PRINT_MAX);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		buf_clear(&value);
		buf_clear(&place);
		option_show(&options[i], c, &value);
		config_add_place(c, i, &place);
		fprintf(out, "%s.%s = ", options[i].section, options[i].key);
		// An expression over several lines is shown in one, so that a line is an option.
		if (strpbrk(buf_str(&value), "\n\t")) {
			auto_buf quoted;
			buf_init(&quoted, PRINT_MAX);
			quote_add(&quoted, value.data, value.len);
			put(&quoted, out);
		} else {
			put(&value, out);
		}
		fprintf(out, "%s# ", value.len ? "  " : " ");
		put(&place, out);
		fputc('\n', out);
	}
}

static void add_json_value(const struct config *c, size_t index, struct buf *json)
{
	auto_buf value;
	buf_init(&value, PRINT_MAX);
	option_show(&options[index], c, &value);
	if (options[index].type == OPT_INT || options[index].type == OPT_BOOL)
		buf_adds(json, buf_str(&value));
	else
		quote_add(json, buf_str(&value), value.len);
}

void config_print_json(const struct config *c, FILE *out)
{
	auto_buf json, place;
	buf_init(&json, PRINT_MAX);
	buf_init(&place, PRINT_MAX);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (option_starts_section(i))
			buf_addf(&json, "%s\"%s\":{", i ? "}," : "{", options[i].section);
		else
			buf_addc(&json, ',');
		buf_addf(&json, "\"%s\":{\"value\":", options[i].key);
		add_json_value(c, i, &json);
		buf_addf(&json, ",\"origin\":\"%s\",\"place\":", origin_names[c->state->slots[i].origin]);
		buf_clear(&place);
		config_add_place(c, i, &place);
		quote_add(&json, buf_str(&place), place.len);
		buf_addc(&json, '}');
	}
	buf_adds(&json, "}}\n");
	put(&json, out);
}
