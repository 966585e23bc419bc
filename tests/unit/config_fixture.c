// SPDX-License-Identifier: MIT
#include "config_fixture.h"

#include "base/mem.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

const struct fixture_row rows[] = {
#define OPTION(section, key, type, def, min, max, choices, flags, help) \
	{ #section, #key, type, def, min, max, choices, flags },
#include "base/options.def"
#undef OPTION
};
const size_t row_count = array_len(rows);

// A folder for the files of this run; the working directory, so that messages hold short names.
int enter_folder(void **state)
{
	static char folder[] = "/tmp/outboxd-test-XXXXXX";
	*state = folder;
	return mkdtemp(folder) && !chdir(folder) ? 0 : -1;
}

int leave_folder(void **state)
{
	unlink("f.conf");
	unlink("secret");
	return chdir("/") || rmdir(*state);
}

void write_file(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

bool read_text(struct config *c, const char *text, struct err *e)
{
	write_file("f.conf", text, strlen(text));
	return config_read_file(c, "f.conf", e);
}

bool read_var(struct config *c, const char *variable, struct err *e)
{
	auto_free char *copy = mem_strdup(variable);
	char *envp[] = { copy, NULL };
	return config_read_env(c, envp, e);
}

bool set_flag(struct config *c, const char *name, const char *value, struct err *e)
{
	bool known = false;
	return config_set_flag(c, name, value, &known, e);
}

char *printed(const struct config *c, print_function *print)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	print(c, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

// The documents do not depend on a configuration.
char *printed_page(void (*print)(FILE *out))
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	print(out);
	assert_int_equal(fclose(out), 0);
	return text;
}

// "section.key = value  # place\n" as config_print writes it, without the section of other options.
void assert_line(const struct config *c, const char *line)
{
	auto_free char *text = printed(c, config_print);
	const char *found = strstr(text, line);
	if (!found || (found != text && found[-1] != '\n'))
		fail_msg("no line \"%s\" in\n%s", line, text);
}

void names_for(size_t i, char flag[64], char env[64])
{
	snprintf(flag, 64, "%s-%s", rows[i].section, rows[i].key);
	for (char *p = flag; *p; p++)
		*p = *p == '_' ? '-' : *p;
	snprintf(env, 64, "OUTBOXD_%s_%s", rows[i].section, rows[i].key);
	for (char *p = env; *p; p++)
		*p = (char)toupper((unsigned char)*p);
}
