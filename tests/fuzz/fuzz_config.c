// SPDX-License-Identifier: MIT
// The configuration file: entries are what ini.h promises; a file that is accepted can be printed and checked, and
// its values survive being written down again.
#include "base/config.h"
#include "base/ini.h"
#include "fuzz.h"

#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

struct seen {
	int line;
	int lines;
	FILE *out;
};

static bool is_trimmed(const char *text)
{
	static const char space[] = " \t\n\v\f\r";

	return !*text || (!strchr(space, text[0]) && !strchr(space, text[strlen(text) - 1]));
}

static bool on_entry(void *arg, const struct ini_entry *entry, struct err *e)
{
	struct seen *seen = arg;

	(void)e;
	check(entry->line > seen->line && entry->line <= seen->lines);
	seen->line = entry->line;
	check(*entry->section && is_trimmed(entry->section) && !strpbrk(entry->section, "]\n"));
	check(*entry->key && is_trimmed(entry->key) && !strpbrk(entry->key, "=\n"));
	check(is_trimmed(entry->value));
	fprintf(seen->out, "[%s]\n%s =", entry->section, entry->key);
	for (const char *p = entry->value; *p; p++)
		fprintf(seen->out, *p == '\n' ? "\n\t" : "%c", *p);
	fputc('\n', seen->out);
	return true;
}

// The entries, written down as a file of the same meaning; NULL when the text was refused. The caller frees it.
static char *rewrite(const char *text, size_t len, size_t *ret_len)
{
	struct seen seen = { .line = 0, .lines = 1 };
	struct err e = { .kind = ERR_NONE };
	char *out = NULL;
	bool ok;

	for (size_t i = 0; i < len; i++)
		seen.lines += text[i] == '\n';
	seen.out = open_memstream(&out, ret_len);
	check(seen.out != NULL);
	ok = ini_parse("fuzz", text, len, on_entry, &seen, &e);
	fclose(seen.out);
	check(ok || (e.kind == ERR_CONFIG && strncmp(e.text, "fuzz:", 5) == 0));
	if (ok)
		return out;
	free(out);
	return NULL;
}

static char *print(const struct config *c, void (*printer)(const struct config *c, FILE *out))
{
	size_t len;
	char *text = NULL;
	FILE *out = open_memstream(&text, &len);

	check(out != NULL);
	printer(c, out);
	fclose(out);
	return text;
}

// The values and where they come from as JSON; NULL when the file was refused.
static json_t *read_file(const char *text, size_t len)
{
	struct err e = { .kind = ERR_NONE };
	struct config c;
	json_t *json = NULL;
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	check(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config_init(&c);
	if (config_read_file(&c, path, &e)) {
		char *plain = print(&c, config_print);
		char *values = print(&c, config_print_json);

		json = json_loads(values, 0, NULL);
		check(json_is_object(json));
		check(config_check(&c, NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, &e) || e.text[0]);
		free(plain);
		free(values);
	} else {
		check(e.kind == ERR_CONFIG && e.text[0]);
	}
	config_done(&c);
	close(fd);
	return json;
}

// What was accepted is refused when it is said twice.
static void check_twice(const char *text, size_t len)
{
	char *twice = feed_copy(text, len);

	if (len > 0) {
		twice = realloc(twice, 2 * len);
		check(twice != NULL);
		memcpy(twice + len, text, len);
		check(!read_file(twice, 2 * len));
	}
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	json_t *json = read_file(text, size);
	size_t again_len = 0, third_len = 0;
	char *again = rewrite(text, size, &again_len);

	check(again || !json);
	if (again) {
		char *third = rewrite(again, again_len, &third_len);
		json_t *json_again = read_file(again, again_len);
		const char *section;
		const char *key;
		json_t *keys;
		json_t *option;

		check(third && third_len == again_len && memcmp(third, again, again_len) == 0);
		check((json != NULL) == (json_again != NULL));
		json_object_foreach(json, section, keys) json_object_foreach(keys, key, option) check(
			json_equal(json_object_get(option, "value"),
				   json_object_get(json_object_get(json_object_get(json_again, section), key),
						   "value")));
		check_twice(again, json ? again_len : 0);
		json_decref(json_again);
		free(third);
	}
	free(again);
	json_decref(json);
	return 0;
}
