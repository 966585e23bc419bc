// SPDX-License-Identifier: MIT
// What can be configured: the flags of --help, the sample file, the reference page.
#include "base/config.h"

#include "options.h"

#include <string.h>

enum { TEXT_MAX = 4096, WIDTH = 100 };

// Breaks text at spaces; each line starts with indent.
static void put_wrapped(FILE *out, const char *indent, const char *text)
{
	size_t room = WIDTH - strlen(indent);
	while (*text) {
		size_t len = strlen(text);
		if (len > room) {
			len = room;
			while (len && text[len] != ' ')
				len--;
			if (!len) // a word that is longer than a line
				len = strcspn(text, " ");
		}
		fprintf(out, "%s%.*s\n", indent, (int)len, text);
		text += len;
		text += strspn(text, " ");
	}
}

// "duration, 1s to 50s", "a, b or c"
static void add_type(const struct option_row *o, struct buf *out)
{
	auto_buf allowed;
	buf_init(&allowed, TEXT_MAX);
	option_allowed(o, &allowed);
	if (o->type != OPT_CHOICE && o->type != OPT_BOOL)
		buf_addf(out, "%s%s", option_type_name(o->type), allowed.len ? ", " : "");
	buf_adds(out, buf_str(&allowed));
}

void config_print_flags(FILE *out)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *o = &options[i];
		char flag[OPTION_NAME_SIZE];
		option_flag_name(o, flag);
		auto_buf text;
		buf_init(&text, TEXT_MAX);
		buf_addf(&text, "%s (", o->help);
		add_type(o, &text);
		if (*o->def)
			buf_addf(&text, "; default %s", o->def);
		buf_addc(&text, ')');

		if (option_starts_section(i))
			fprintf(out, "%s%s:\n", i ? "\n" : "", o->section);
		fprintf(out, "  --%s%s\n", flag, o->type == OPT_BOOL ? "[=BOOL]" : "=VALUE");
		put_wrapped(out, "        ", buf_str(&text));
	}
}

void config_print_sample(FILE *out)
{
	fputs("# Configuration of outboxd: every option with its default. Remove the # in front of what you change.\n"
	      "# An environment variable OUTBOXD_SECTION_KEY beats this file, a flag --section-key beats both.\n"
	      "# A line that starts with white space continues the value above it.\n"
	      "# The service reads this file as an unprivileged user, so everybody may; what is secret goes into\n"
	      "# outboxd.env beside it.\n",
	      out);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *o = &options[i];
		if (option_starts_section(i)) {
			fputc('\n', out);
			put_wrapped(out, "# ", option_section_help(o->section));
			fprintf(out, "[%s]\n", o->section);
		}
		auto_buf type;
		buf_init(&type, TEXT_MAX);
		add_type(o, &type);
		fputc('\n', out);
		put_wrapped(out, "# ", o->help);
		fprintf(out, "# (%s)\n#%s =%s%s\n", buf_str(&type), o->key, *o->def ? " " : "", o->def);
	}
}

void config_print_man(FILE *out)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *o = &options[i];
		char flag[OPTION_NAME_SIZE];
		option_flag_name(o, flag);
		auto_buf type;
		buf_init(&type, TEXT_MAX);
		add_type(o, &type);
		if (option_starts_section(i))
			fprintf(out, ".SS [%s]\n%s\n", o->section, option_section_help(o->section));
		fprintf(out, ".TP\n.B \\-\\-%s\n", flag);
		for (const char *p = o->help; *p; p++) {
			if (*p == '\\')
				fputs("\\e", out);
			else
				fputc(*p, out);
		}
		fprintf(out, "\n(%s%s%s)\n", buf_str(&type), *o->def ? "; default " : "", o->def);
	}
}

// A | would end the cell.
static void put_cell(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void put_reference_row(FILE *out, const struct option_row *o)
{
	char flag[OPTION_NAME_SIZE], env[OPTION_NAME_SIZE];
	option_flag_name(o, flag);
	option_env_name(o, env);
	auto_buf type;
	buf_init(&type, TEXT_MAX);
	add_type(o, &type);

	fprintf(out, "| `%s` | `--%s` | `%s` | ", o->key, flag, env);
	put_cell(out, buf_str(&type));
	fputs(" | ", out);
	if (*o->def) {
		fputc('`', out);
		put_cell(out, o->def);
		fputc('`', out);
	}
	fputs(*o->def ? " | " : "| ", out);
	put_cell(out, o->help);
	fputs(o->flags & OPTF_REQUIRED ? " **Required.** |\n" : " |\n", out);
}

void config_print_reference(FILE *out)
{
	fputs("# Configuration\n"
	      "\n"
	      "Generated from `include/base/options.def`.\n"
	      "\n"
	      "An option is a `key = value` line under `[section]` in the file, an environment variable, or a flag;\n"
	      "a flag beats the environment, the environment beats the file, the file beats the default. Unknown and\n"
	      "double keys are errors. In the file, `#` or `;` at the start of a line makes a comment, and a line that\n"
	      "starts with white space continues the value above it (SQL expressions only).\n"
	      "\n"
	      "The file is the one of `--config FILE`, or else the one that `OUTBOXD_CONFIG` names, or else\n"
	      "`/etc/outboxd/outboxd.conf` when it exists.\n"
	      "\n"
	      "Durations are a number with `ms`, `s`, `m`, `h` or `d` (or `0`); sizes are bytes, or a number with\n"
	      "`kB`, `MB` or `GB` (powers of 1024). `outboxd config` prints every value and where it comes from.\n",
	      out);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (option_starts_section(i))
			fprintf(out,
				"\n## `[%s]`\n\n%s\n\n| Key | Flag | Environment | Value | Default | Meaning |\n"
				"|---|---|---|---|---|---|\n",
				options[i].section, option_section_help(options[i].section));
		put_reference_row(out, &options[i]);
	}
}
