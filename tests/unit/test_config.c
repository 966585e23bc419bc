// SPDX-License-Identifier: MIT
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void defaults(void **state)
{
	(void)state;
	struct config c;
	config_init(&c);
	assert_string_equal(c.postgres_dsn, "");
	assert_string_equal(c.outbox_table, "outbox");
	assert_int_equal(c.outbox_preset, PRESET_DOCUMENT);
	assert_int_equal(c.outbox_deletes, DELETES_DELETE);
	assert_int_equal(c.elasticsearch_compression, COMPRESSION_OFF);
	assert_int_equal(c.elasticsearch_timeout, 30000);
	assert_int_equal(c.relay_batch_bytes, 1 << 20);
	assert_int_equal(c.relay_once_timeout, 0);
	assert_int_equal(c.retention_keep, INT64_C(604800000));
	assert_true(c.relay_notify);
	assert_int_equal(c.log_format, LOG_LOGFMT);
	assert_int_equal(c.log_level, LOG_INFO);
	for (size_t i = 0; i < row_count; i++) {
		char line[200];
		snprintf(line, sizeof(line), "%s.%s = %s%s# default\n", rows[i].section, rows[i].key,
			 rows[i].def, *rows[i].def ? "  " : " ");
		assert_line(&c, line);
		assert_int_equal(config_origin(&c, rows[i].section, rows[i].key), ORIGIN_DEFAULT);
	}
	config_done(&c);
	config_done(&c); // twice is fine
}

static void choices_match_their_enums(void **state)
{
	(void)state;
	static const struct {
		const char *flag, *value;
		size_t offset;
		int expected;
	} choices[] = {
		{ "outbox-preset", "document", offsetof(struct config, outbox_preset), PRESET_DOCUMENT },
		{ "outbox-preset", "events", offsetof(struct config, outbox_preset), PRESET_EVENTS },
		{ "outbox-preset", "debezium", offsetof(struct config, outbox_preset), PRESET_DEBEZIUM },
		{ "outbox-deletes", "tombstone", offsetof(struct config, outbox_deletes), DELETES_TOMBSTONE },
		{ "elasticsearch-compression", "gzip", offsetof(struct config, elasticsearch_compression),
		  COMPRESSION_GZIP },
		{ "log-format", "json", offsetof(struct config, log_format), LOG_JSON },
		{ "log-level", "debug", offsetof(struct config, log_level), LOG_DEBUG },
		{ "log-level", "warn", offsetof(struct config, log_level), LOG_WARN },
		{ "log-level", "error", offsetof(struct config, log_level), LOG_ERROR },
	};
	for (size_t i = 0; i < array_len(choices); i++) {
		struct config c;
		config_init(&c);
		assert_true(set_flag(&c, choices[i].flag, choices[i].value, NULL));
		int got;
		memcpy(&got, (const char *)&c + choices[i].offset, sizeof(got));
		assert_int_equal(got, choices[i].expected);
		config_done(&c);
	}
}

// Four values for an option, one for each source, that differ where the type allows it. In the notation that
// config_print uses.
static const char *value_for(size_t i, enum origin origin, char out[64])
{
	const char *last;
	switch (rows[i].type) {
	case OPT_TEXT:
	case OPT_SQL:
	case OPT_PATH:
		snprintf(out, 64, "text%d", (int)origin);
		break;
	case OPT_CHOICE:
		last = strrchr(rows[i].choices, '|') + 1;
		snprintf(out, 64, "%.*s", origin % 2 ? 63 : (int)strcspn(rows[i].choices, "|"),
			 origin % 2 ? last : rows[i].choices);
		break;
	case OPT_BOOL:
		snprintf(out, 64, "%s", origin % 2 ? "false" : "true");
		break;
	case OPT_INT:
	case OPT_SIZE:
	case OPT_DURATION:
		snprintf(out, 64, "%s", origin % 2 ? rows[i].max : rows[i].min);
		break;
	}
	return out;
}

static void set_from(struct config *c, size_t i, enum origin origin)
{
	char flag[64], env[64], value[64], text[200];
	names_for(i, flag, env);
	value_for(i, origin, value);
	struct err e = { .text = "" };
	bool ok = true;
	if (origin == ORIGIN_FILE) {
		snprintf(text, sizeof(text), "[%s]\n%s = %s\n", rows[i].section, rows[i].key, value);
		ok = read_text(c, text, &e);
	} else if (origin == ORIGIN_ENV) {
		snprintf(text, sizeof(text), "%s=%s", env, value);
		ok = read_var(c, text, &e);
	} else if (origin == ORIGIN_FLAG) {
		ok = set_flag(c, flag, value, &e);
	}
	if (!ok)
		fail_msg("%s", e.text);
}

static void assert_from(const struct config *c, size_t i, enum origin origin)
{
	char flag[64], env[64], value[64], line[300];
	names_for(i, flag, env);
	const char *shown = rows[i].def;
	if (origin != ORIGIN_DEFAULT)
		shown = rows[i].flags & OPTF_SECRET ? "********" : value_for(i, origin, value);
	snprintf(line, sizeof(line), "%s.%s = %s%s# %s%s\n", rows[i].section, rows[i].key, shown,
		 *shown ? "  " : " ", origin == ORIGIN_FLAG ? "--" : "",
		 origin == ORIGIN_FLAG   ? flag
		 : origin == ORIGIN_ENV  ? env
		 : origin == ORIGIN_FILE ? "f.conf:2"
					 : "default");
	assert_line(c, line);
	assert_int_equal(config_origin(c, rows[i].section, rows[i].key), origin);
}

// Every option, set by every set of sources in every order: the strongest wins.
static void precedence(void **state)
{
	(void)state;
	static const enum origin orders[][3] = {
		{ ORIGIN_FILE, ORIGIN_ENV, ORIGIN_FLAG }, { ORIGIN_FILE, ORIGIN_FLAG, ORIGIN_ENV },
		{ ORIGIN_ENV, ORIGIN_FILE, ORIGIN_FLAG }, { ORIGIN_ENV, ORIGIN_FLAG, ORIGIN_FILE },
		{ ORIGIN_FLAG, ORIGIN_FILE, ORIGIN_ENV }, { ORIGIN_FLAG, ORIGIN_ENV, ORIGIN_FILE },
	};
	for (size_t i = 0; i < row_count; i++) {
		for (size_t order = 0; order < array_len(orders); order++) {
			for (unsigned sources = 0; sources < 8; sources++) {
				struct config c;
				config_init(&c);
				enum origin strongest = ORIGIN_DEFAULT;
				for (int n = 0; n < 3; n++) {
					enum origin origin = orders[order][n];
					if (!(sources >> (origin - 1) & 1))
						continue;
					set_from(&c, i, origin);
					strongest = origin > strongest ? origin : strongest;
				}
				assert_from(&c, i, strongest);
				config_done(&c);
			}
		}
	}
}

static void the_last_flag_wins(void **state)
{
	(void)state;
	struct config c;
	config_init(&c);
	assert_true(set_flag(&c, "relay-workers", "2", NULL));
	assert_true(set_flag(&c, "relay-workers", "3", NULL));
	assert_int_equal(c.relay_workers, 3);
	assert_true(set_flag(&c, "outbox-table", "a", NULL));
	assert_true(set_flag(&c, "outbox-table", "b", NULL));
	assert_string_equal(c.outbox_table, "b");
	config_done(&c);
}

static void boolean_flags_need_no_value(void **state)
{
	(void)state;
	struct config c;
	config_init(&c);
	assert_true(config_flag_is_bool("relay-notify"));
	assert_false(config_flag_is_bool("relay-workers"));
	assert_true(config_flag_exists("relay-workers"));
	assert_false(config_flag_exists("relay-worker"));
	assert_false(config_flag_is_bool("relay-notif"));
	assert_false(config_flag_is_bool(""));
	assert_true(set_flag(&c, "relay-notify", "no", NULL));
	assert_false(c.relay_notify);
	assert_true(set_flag(&c, "relay-notify", NULL, NULL));
	assert_true(c.relay_notify);
	config_done(&c);
}

static void sql_may_span_lines(void **state)
{
	(void)state;
	struct config c;
	config_init(&c);
	assert_true(read_text(&c, "[outbox]\ndocument =\n  (SELECT \"d\"\n# not here\n\tFROM v)\nkey = o.k\n",
			      NULL));
	assert_string_equal(c.outbox_document, "(SELECT \"d\"\nFROM v)");
	assert_string_equal(c.outbox_key, "o.k");
	assert_line(&c, "outbox.document = \"(SELECT \\\"d\\\"\\nFROM v)\"  # f.conf:2\n");
	config_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(choices_match_their_enums),
		cmocka_unit_test(precedence),
		cmocka_unit_test(the_last_flag_wins),
		cmocka_unit_test(boolean_flags_need_no_value),
		cmocka_unit_test(sql_may_span_lines),
	};
	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
