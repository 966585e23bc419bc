// SPDX-License-Identifier: MIT
#include "cmd/findings.h"

#include "base/buf.h"
#include "cmd/table.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX ((size_t)64 * 1024)

static const struct {
	const char *name, *label;
} states[] = {
	[FINDING_OK] = { "ok", "ok" },
	[FINDING_WARNING] = { "warning", "WARNING" },
	[FINDING_PROBLEM] = { "problem", "PROBLEM" },
	[FINDING_AWAY] = { "problem", "PROBLEM" },
};

void findings_init(struct findings *f)
{
	*f = (struct findings){ .list = json_array() };
	if (!f->list)
		abort(); // no memory
}

void findings_done(struct findings *f)
{
	json_decref(f->list);
	f->list = NULL;
}

// Text of a server that is not UTF-8 has no place in JSON.
static json_t *text(const char *s)
{
	json_t *value = json_string(s);

	return value ? value : json_string("(text that is not UTF-8)");
}

void findings_add(struct findings *f, const char *area, enum finding_state state, const char *advice,
		  const char *fmt, ...)
{
	json_t *finding = json_object();
	auto_buf what = { 0 };
	va_list args;

	buf_init(&what, TEXT_MAX);
	va_start(args, fmt);
	buf_vaddf(&what, fmt, args);
	va_end(args);
	json_object_set_new(finding, "area", text(area));
	json_object_set_new(finding, "what", text(what.full ? fmt : buf_str(&what)));
	json_object_set_new(finding, "state", text(states[state].name));
	json_object_set_new(finding, "advice", text(state == FINDING_OK ? "" : advice));
	json_array_append_new(f->list, finding);
	f->problem |= state == FINDING_PROBLEM;
	f->away |= state == FINDING_AWAY;
}

static const char *member(const json_t *finding, const char *name)
{
	return json_string_value(json_object_get(finding, name));
}

static void print_line(const json_t *finding)
{
	const char *state = member(finding, "state"), *advice = member(finding, "advice");
	auto_buf line = { 0 };

	for (size_t i = 0; i < array_len(states); i++) {
		if (strcmp(state, states[i].name) == 0)
			state = states[i].label;
	}
	buf_init(&line, 4 * TEXT_MAX);
	buf_addf(&line, "%-8s %-14s %s%s%s", state, member(finding, "area"), member(finding, "what"),
		 *advice ? " -> " : "", advice);
	table_put_text(buf_str(&line));
	putchar('\n');
}

void findings_print(const struct findings *f, bool json)
{
	const json_t *finding;
	size_t i;

	if (json) {
		json_dumpf(f->list, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	json_array_foreach(f->list, i, finding)
	{
		print_line(finding);
	}
}

int findings_exit_code(const struct findings *f)
{
	if (f->problem)
		return err_exit_code(ERR_CONFIG);
	return f->away ? err_exit_code(ERR_UNAVAILABLE) : 0;
}
