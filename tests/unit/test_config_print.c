// SPDX-License-Identifier: MIT
#include "base/config.h"
#include "base/mem.h"
#include "config_fixture.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void secrets_are_not_printed(void **state)
{
	(void)state;
	struct config c;
	config_init(&c);
	assert_true(read_text(&c,
			      "[postgres]\ndsn = host=db password=hunter2\n"
			      "[elasticsearch]\nurl = https://u:hunter2@es:9200\n",
			      NULL));
	assert_string_equal(c.postgres_dsn, "host=db password=hunter2");
	assert_line(&c, "postgres.dsn = ********  # f.conf:2\n");
	assert_line(&c, "elasticsearch.url = ********  # f.conf:4\n");
	auto_free char *text = printed(&c, config_print);
	auto_free char *json = printed(&c, config_print_json);
	assert_null(strstr(text, "hunter2"));
	assert_null(strstr(json, "hunter2"));
	struct err e;
	assert_false(config_check(&c, 0, &e));
	assert_null(strstr(e.text, "hunter2"));
	config_done(&c);
}

static void prints_json(void **state)
{
	(void)state;
	struct config c;
	config_init(&c);
	assert_true(read_text(&c, "[outbox]\ntable = \"q\\\xff\xc3\xa9\nkey = a\n b\n[relay]\nnotify = off\n",
			      NULL));
	assert_true(set_flag(&c, "relay-workers", "3", NULL));
	auto_free char *text = printed(&c, config_print_json);
	json_error_t why;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	if (!json)
		fail_msg("%s\n%s", why.text, text);
	const char *table, *key, *origin, *place, *timeout, *env_place;
	json_int_t workers;
	int notify;
	assert_int_equal(
		json_unpack(json, "{s:{s:{s:s,s:s},s:{s:s}},s:{s:{s:I,s:s},s:{s:b}},s:{s:{s:s,s:s}}}",
			    "outbox", "table", "value", &table, "place", &place, "key", "value", &key,
			    "relay", "workers", "value", &workers, "origin", &origin, "notify", "value",
			    &notify, "elasticsearch", "timeout", "value", &timeout, "place", &env_place),
		0);
	assert_string_equal(table, "\"q\\\xef\xbf\xbd\xc3\xa9");
	assert_string_equal(place, "f.conf:2");
	assert_string_equal(key, "a\nb");
	assert_true(workers == 3);
	assert_string_equal(origin, "flag");
	assert_int_equal(notify, 0);
	assert_string_equal(timeout, "30s");
	assert_string_equal(env_place, "default");
	for (size_t i = 0; i < row_count; i++)
		assert_non_null(json_object_get(json_object_get(json, rows[i].section), rows[i].key));
	json_decref(json);
	config_done(&c);
}

static void reads_secrets(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		const char *secret, *error;
	} files[] = {
		{ "hunter2", 7, "hunter2", NULL },
		{ "hunter2\n", 8, "hunter2", NULL },
		{ "hunter2\r\n", 9, "hunter2", NULL },
		{ " two words ", 11, " two words ", NULL },
		{ "\xc3\xa9\n", 3, "\xc3\xa9", NULL },
		{ "", 0, NULL, "secret is empty" },
		{ "\n", 1, NULL, "secret is empty" },
		{ "a\n\n", 3, NULL, "secret holds more than one line of text" },
		{ "a\nX-Header: b\n", 14, NULL, "secret holds more than one line of text" },
		{ "a\0b\n", 4, NULL, "secret holds more than one line of text" },
		{ "a\rb", 3, NULL, "secret holds more than one line of text" },
	};
	for (size_t i = 0; i < array_len(files); i++) {
		write_file("secret", files[i].bytes, files[i].len);
		struct err e = { .text = "" };
		char *secret = NULL;
		bool ok = config_read_secret("secret", &secret, &e);
		assert_int_equal(ok, !files[i].error);
		assert_string_equal(e.text, files[i].error ? files[i].error : "");
		if (ok)
			assert_string_equal(secret, files[i].secret);
		else
			assert_null(secret);
		config_secret_free(secret);
	}
	struct err e;
	char *secret = NULL;
	assert_false(config_read_secret("absent", &secret, &e));
	assert_string_equal(e.text, "cannot open absent: No such file or directory");
	assert_false(config_read_secret("/dev/zero", &secret, &e));
	assert_string_equal(e.text, "/dev/zero is not a regular file");
	config_secret_free(NULL);
}

static void a_secret_of_the_largest_size(void **state)
{
	(void)state;
	auto_free char *text = mem_calloc(65537, 1);
	memset(text, 'x', 65537);
	write_file("secret", text, 65536);
	char *secret = NULL;
	assert_true(config_read_secret("secret", &secret, NULL));
	assert_int_equal(strlen(secret), 65536);
	config_secret_free(secret);
	write_file("secret", text, 65537);
	assert_false(config_read_secret("secret", &secret, NULL));
}

// The sample reads back as the defaults when every option in it is switched on.
static void the_sample_is_the_defaults(void **state)
{
	(void)state;
	auto_free char *sample = printed_page(config_print_sample);
	struct config c;
	struct err e = { .text = "" };
	config_init(&c);
	if (!read_text(&c, sample, &e))
		fail_msg("%s", e.text);
	for (size_t i = 0; i < row_count; i++)
		assert_int_equal(config_origin(&c, rows[i].section, rows[i].key), ORIGIN_DEFAULT);

	// "#key =" is an option; "# text" is a comment.
	for (char *p = sample; (p = strstr(p, "\n#"));) {
		p++;
		if (p[1] != ' ')
			memmove(p, p + 1, strlen(p));
	}
	if (!read_text(&c, sample, &e))
		fail_msg("%s\n%s", e.text, sample);
	auto_free char *text = printed(&c, config_print);
	for (size_t i = 0; i < row_count; i++) {
		char start[200];
		snprintf(start, sizeof(start), "%s.%s = %s%s# f.conf:", rows[i].section, rows[i].key,
			 rows[i].def, *rows[i].def ? "  " : " ");
		assert_non_null(strstr(text, start));
	}
	config_done(&c);
}

static void assert_no_long_lines(const char *text, size_t most)
{
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		if (len > most)
			fail_msg("%zu bytes: %.*s", len, (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static void pages_name_every_option(void **state)
{
	(void)state;
	auto_free char *flags = printed_page(config_print_flags);
	auto_free char *reference = printed_page(config_print_reference);
	auto_free char *sample = printed_page(config_print_sample);
	assert_no_long_lines(flags, 100);
	assert_no_long_lines(sample, 100);
	for (size_t i = 0; i < row_count; i++) {
		char flag[64], env[64], part[200];
		names_for(i, flag, env);
		snprintf(part, sizeof(part), "\n  --%s%s\n", flag,
			 rows[i].type == OPT_BOOL ? "[=BOOL]" : "=VALUE");
		assert_non_null(strstr(flags, part));
		snprintf(part, sizeof(part), "\n| `%s` | `--%s` | `%s` | ", rows[i].key, flag, env);
		assert_non_null(strstr(reference, part));
		snprintf(part, sizeof(part), "\n## `[%s]`\n\n", rows[i].section);
		const char *section = strstr(reference, part);
		assert_non_null(section);
		assert_true(section[strlen(part)] != '\n'); // each section has its help
	}
	assert_non_null(strstr(reference, "| duration, 1s to 40s | `30s` |"));
	assert_non_null(strstr(reference, "| logfmt or json | `logfmt` |"));
	assert_non_null(strstr(reference, " **Required.** |\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secrets_are_not_printed),
		cmocka_unit_test(prints_json),
		cmocka_unit_test(reads_secrets),
		cmocka_unit_test(a_secret_of_the_largest_size),
		cmocka_unit_test(the_sample_is_the_defaults),
		cmocka_unit_test(pages_name_every_option),
	};
	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
