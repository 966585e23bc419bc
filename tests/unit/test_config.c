// SPDX-License-Identifier: MIT
#include "base/buf.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
	const char *section, *key;
	enum option_type type;
	const char *def, *min, *max, *choices;
	int flags;
} rows[] = {
#define OPTION(section, key, type, def, min, max, choices, flags, help) \
	{ #section, #key, type, def, min, max, choices, flags },
#include "base/options.def"
#undef OPTION
};

// A folder for the files of this run; the working directory, so that messages hold short names.
static int enter_folder(void **state)
{
	static char folder[] = "/tmp/outboxd-test-XXXXXX";
	*state = folder;
	return mkdtemp(folder) && !chdir(folder) ? 0 : -1;
}

static int leave_folder(void **state)
{
	unlink("f.conf");
	unlink("secret");
	return chdir("/") || rmdir(*state);
}

static void write_file(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static bool read_text(struct config *c, const char *text, struct err *e)
{
	write_file("f.conf", text, strlen(text));
	return config_read_file(c, "f.conf", e);
}

static bool read_var(struct config *c, const char *variable, struct err *e)
{
	auto_free char *copy = mem_strdup(variable);
	char *envp[] = { copy, NULL };
	return config_read_env(c, envp, e);
}

static bool set_flag(struct config *c, const char *name, const char *value, struct err *e)
{
	bool known = false;
	return config_set_flag(c, name, value, &known, e);
}

typedef void print_function(const struct config *c, FILE *out);

static char *printed(const struct config *c, print_function *print)
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
static char *printed_page(void (*print)(FILE *out))
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
static void assert_line(const struct config *c, const char *line)
{
	auto_free char *text = printed(c, config_print);
	const char *found = strstr(text, line);
	if (!found || (found != text && found[-1] != '\n'))
		fail_msg("no line \"%s\" in\n%s", line, text);
}

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
	for (size_t i = 0; i < array_len(rows); i++) {
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

static void names_for(size_t i, char flag[64], char env[64])
{
	snprintf(flag, 64, "%s-%s", rows[i].section, rows[i].key);
	for (char *p = flag; *p; p++)
		*p = *p == '_' ? '-' : *p;
	snprintf(env, 64, "OUTBOXD_%s_%s", rows[i].section, rows[i].key);
	for (char *p = env; *p; p++)
		*p = (char)toupper((unsigned char)*p);
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
	for (size_t i = 0; i < array_len(rows); i++) {
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

static const char key_list[] = "allowed: workers, batch_rows, batch_bytes, poll_interval, notify, ";
static const char section_list[] = "allowed: postgres, outbox, elasticsearch, relay, retry, retention, ";

// The beginning of the message of each mistake in a file.
static void mistakes_in_the_file(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
		const char *also; // another part of it
	} mistakes[] = {
		{ "[relay]\n\nworker = 1\n",
		  "f.conf:3: unknown key \"worker\" in [relay], did you mean \"workers\"?; ", key_list },
		{ "[relay]\nWorkers = 1\n",
		  "f.conf:2: unknown key \"Workers\" in [relay], did you mean \"workers\"?; ", key_list },
		{ "[relay]\nbathc_rows = 1\n",
		  "f.conf:2: unknown key \"bathc_rows\" in [relay], did you mean \"batch_rows\"?; ",
		  key_list },
		{ "[relay]\nquux = 1\n", "f.conf:2: unknown key \"quux\" in [relay]; ", key_list },
		{ "[realy]\nworkers = 1\n", "f.conf:2: unknown section [realy], did you mean \"relay\"?; ",
		  section_list },
		{ "[what]\nworkers = 1\n", "f.conf:2: unknown section [what]; ", section_list },
		{ "[relay]\nworkers = 1\n[log]\nlevel = warn\n[relay]\nworkers = 1\n",
		  "f.conf:6: relay.workers is set twice, first in line 2", "" },
		{ "[relay]\nworkers = 0\n",
		  "f.conf:2: relay.workers: \"0\" is out of range; allowed: 1 to 16", "" },
		{ "[relay]\nworkers = 17\n",
		  "f.conf:2: relay.workers: \"17\" is out of range; allowed: 1 to 16", "" },
		{ "[relay]\nworkers = -1\n",
		  "f.conf:2: relay.workers: \"-1\" is out of range; allowed: 1 to 16", "" },
		{ "[relay]\nworkers = 99999999999999999999\n",
		  "f.conf:2: relay.workers: \"99999999999999999999\" is too large; allowed: 1 to 16", "" },
		{ "[relay]\nworkers = many\n",
		  "f.conf:2: relay.workers: \"many\" is not a whole number; allowed: 1 to 16", "" },
		{ "[relay]\nworkers =\n", "f.conf:2: relay.workers: must not be empty; allowed: 1 to 16",
		  "" },
		{ "[relay]\nworkers = 1\n  2\n", "f.conf:2: relay.workers: \"1\n2\" is not a whole number",
		  "" },
		{ "[relay]\npoll_interval = 5\n",
		  "f.conf:2: relay.poll_interval: \"5\" has no unit: write a number and",
		  "; allowed: 10ms to 1h" },
		{ "[relay]\npoll_interval = 5y\n",
		  "f.conf:2: relay.poll_interval: \"5y\" is not a duration: write a",
		  "; allowed: 10ms to 1h" },
		{ "[relay]\npoll_interval = 9ms\n",
		  "f.conf:2: relay.poll_interval: \"9ms\" is out of range; allowed: 10ms to 1h", "" },
		{ "[relay]\nbatch_bytes = 1TB\n",
		  "f.conf:2: relay.batch_bytes: \"1TB\" is not a size: write bytes, or",
		  "; allowed: 16kB to 90MB" },
		{ "[relay]\nbatch_bytes = 16383\n",
		  "f.conf:2: relay.batch_bytes: \"16383\" is out of range; allowed: 16kB to 90MB", "" },
		{ "[relay]\nnotify = maybe\n", "f.conf:2: relay.notify: \"maybe\" is neither true nor false",
		  "; allowed: true or false" },
		{ "[relay]\nnotify =\n", "f.conf:2: relay.notify: must not be empty; allowed: true or false",
		  "" },
		{ "[log]\nlevel = wran\n",
		  "f.conf:2: log.level: \"wran\" is not known, did you mean \"warn\"?; allowed: debug, info, warn or error",
		  "" },
		{ "[log]\nlevel = Info\n",
		  "f.conf:2: log.level: \"Info\" is not known, did you mean \"info\"?; allowed: debug, info, warn or error",
		  "" },
		{ "[log]\nformat = xml\n",
		  "f.conf:2: log.format: \"xml\" is not known; allowed: logfmt or json", "" },
		{ "[log]\nformat = logfmt|json\n", "f.conf:2: log.format: \"logfmt|json\" is not known", "" },
		{ "[outbox]\ntable =\n", "f.conf:2: outbox.table: must not be empty", "" },
		{ "[outbox]\ntable = a\n b\n", "f.conf:2: outbox.table: must be on one line", "" },
		{ "[outbox]\ntable = a\x01z\n", "f.conf:2: outbox.table: holds a control character (0x01)",
		  "" },
		{ "[outbox]\nkey = a\x1b\n", "f.conf:2: outbox.key: holds a control character (0x1b)", "" },
		{ "workers = 1\n", "f.conf:1: a key before the first [section]", "" },
	};
	for (size_t i = 0; i < array_len(mistakes); i++) {
		struct config c;
		struct err e = { .text = "" };
		config_init(&c);
		if (read_text(&c, mistakes[i].text, &e))
			fail_msg("was read:\n%s", mistakes[i].text);
		if (strncmp(e.text, mistakes[i].error, strlen(mistakes[i].error)) != 0 ||
		    !strstr(e.text, mistakes[i].also))
			fail_msg("\n%s\ninstead of\n%s", e.text, mistakes[i].error);
		assert_int_equal(e.kind, ERR_CONFIG);
		config_done(&c);
	}
}

static void unreadable_files(void **state)
{
	(void)state;
	struct config c;
	struct err e;
	config_init(&c);
	assert_false(config_read_file(&c, "absent.conf", &e));
	assert_string_equal(e.text, "cannot open absent.conf: No such file or directory");
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_false(config_read_file(&c, "/", &e));
	assert_string_equal(e.text, "cannot read /: Is a directory");
	assert_false(config_read_file(&c, "/dev/zero", &e));
	assert_string_equal(e.text, "/dev/zero is longer than 1048576 bytes");
	write_file("f.conf", "[log]\nlevel = \0\n", 16);
	assert_false(config_read_file(&c, "f.conf", &e));
	assert_string_equal(e.text, "f.conf:2: a NUL byte: this is not a text file");
	assert_true(read_text(&c, "", &e));
	config_done(&c);
}

static void a_long_value_is_read(void **state)
{
	(void)state;
	const size_t len = 1000000;
	auto_buf text;
	buf_init(&text, 2 << 20);
	buf_adds(&text, "[outbox]\ndocument = ");
	for (size_t i = 0; i < len; i++)
		buf_addc(&text, 'x');
	struct config c;
	struct err e;
	config_init(&c);
	assert_true(read_text(&c, text.data, &e));
	assert_int_equal(strlen(c.outbox_document), len);
	buf_clear(&text);
	buf_adds(&text, "[log]\nlevel = ");
	for (size_t i = 0; i < len; i++)
		buf_addc(&text, '9');
	assert_false(read_text(&c, text.data, &e));
	assert_true(strlen(e.text) < 300);
	config_done(&c);
}

static void mistakes_in_the_environment(void **state)
{
	(void)state;
	static const struct {
		const char *variable, *error; // NULL = no mistake
	} mistakes[] = {
		{ "OUTBOXD_RELAY_WORKERS=2", NULL },
		{ "OUTBOXD_CONFIG=/etc/x", NULL },
		{ "OUTBOXD_SERVICE_HOST=10.0.0.1", NULL },
		{ "OUTBOXD_PORT=tcp://10.0.0.1:80", NULL },
		{ "OUTBOXD_PORT_80_TCP_ADDR=10.0.0.1", NULL },
		{ "OUTBOXDX=1", NULL },
		{ "outboxd_relay_workers=x", NULL },
		{ "OUTBOXD_", NULL }, // no assignment at all
		{ "PATH=/bin", NULL },
		{ "", NULL },
		{ "OUTBOXD_OUTBOX_DOCUMENT=a\n\tb=c", NULL },
		{ "OUTBOXD_POSTGRES_DSN=host=x password=y", NULL },
		{ "OUTBOXD_RELAY_WORKER=2",
		  "OUTBOXD_RELAY_WORKER: no option has this environment variable, did you mean "
		  "\"OUTBOXD_RELAY_WORKERS\"?" },
		{ "OUTBOXD_CONFIGX=2", "OUTBOXD_CONFIGX: no option has this environment variable" },
		{ "OUTBOXD_=2", "OUTBOXD_: no option has this environment variable" },
		{ "OUTBOXD_QUITE_DIFFERENT=2",
		  "OUTBOXD_QUITE_DIFFERENT: no option has this environment variable" },
		{ "OUTBOXD_RELAY_WORKERS=", "OUTBOXD_RELAY_WORKERS: must not be empty; allowed: 1 to 16" },
		{ "OUTBOXD_RELAY_WORKERS=17",
		  "OUTBOXD_RELAY_WORKERS: \"17\" is out of range; allowed: 1 to 16" },
		{ "OUTBOXD_OUTBOX_TABLE=", "OUTBOXD_OUTBOX_TABLE: must not be empty" },
		{ "OUTBOXD_POSTGRES_DSN=secret\n", "OUTBOXD_POSTGRES_DSN: must be on one line" },
	};
	for (size_t i = 0; i < array_len(mistakes); i++) {
		struct config c;
		struct err e = { .text = "" };
		config_init(&c);
		bool ok = read_var(&c, mistakes[i].variable, &e);
		assert_string_equal(e.text, mistakes[i].error ? mistakes[i].error : "");
		assert_int_equal(ok, !mistakes[i].error);
		if (!ok)
			assert_int_equal(e.kind, ERR_CONFIG);
		config_done(&c);
	}
}

static void mistakes_in_flags(void **state)
{
	(void)state;
	static const struct {
		const char *name, *value, *error;
		bool known;
	} mistakes[] = {
		{ "relay-workers", "17", "--relay-workers: \"17\" is out of range; allowed: 1 to 16", true },
		{ "relay-workers", "", "--relay-workers: must not be empty; allowed: 1 to 16", true },
		{ "relay-workers", NULL, "--relay-workers: needs a value", true },
		{ "relay-worker", "1", "--relay-worker: no such flag, did you mean \"relay-workers\"?",
		  false },
		{ "relay_workers", "1", "--relay_workers: no such flag, did you mean \"relay-workers\"?",
		  false },
		{ "help", NULL, "--help: no such flag", false },
		{ "", "x", "--: no such flag", false },
	};
	for (size_t i = 0; i < array_len(mistakes); i++) {
		struct config c;
		struct err e = { .text = "" };
		config_init(&c);
		bool known = !mistakes[i].known;
		assert_false(config_set_flag(&c, mistakes[i].name, mistakes[i].value, &known, &e));
		assert_string_equal(e.text, mistakes[i].error);
		assert_int_equal(known, mistakes[i].known);
		assert_int_equal(e.kind, ERR_USAGE);
		config_done(&c);
	}
}

static void flags_refuse_passwords(void **state)
{
	(void)state;
	static const struct {
		const char *dsn;
		bool refused;
	} dsns[] = {
		{ "host=db dbname=x user=u", false },
		{ "host=db passfile=/p", false },
		{ "postgresql://u@h:5432/d", false },
		{ "postgres://h:5432/d?application_name=a:b@c", false },
		{ "postgresql://h1:1,h2:2/d", false },
		{ "service=s", false },
		{ "host=db password=hunter2", true },
		{ "password='hunter2' host=db", true },
		{ "host=db password \t= hunter2", true },
		{ "sslpassword=hunter2", true },
		{ "postgresql://u:hunter2@h/d", true },
		{ "postgres://u:hunter2@h", true },
		{ "postgresql://:hunter2@h", true },
		{ "postgresql://u:hun?ter2@h/d", true },
		{ "postgresql://h/d?password=hunter2", true },
		{ "postgresql://h/d?user=u&password=hunter2", true },
	};
	for (size_t i = 0; i < array_len(dsns); i++) {
		struct config c;
		struct err e = { .text = "" };
		config_init(&c);
		bool ok = set_flag(&c, "postgres-dsn", dsns[i].dsn, &e);
		if (ok == dsns[i].refused)
			fail_msg("%s", dsns[i].dsn);
		if (!ok) {
			assert_non_null(strstr(e.text, "PGPASSFILE"));
			assert_null(strstr(e.text, "hunter2"));
			assert_int_equal(e.kind, ERR_USAGE);
		}
		assert_string_equal(c.postgres_dsn, ok ? dsns[i].dsn : "");
		config_done(&c);
	}
}

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
	assert_false(config_check(&c, false, &e));
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
	for (size_t i = 0; i < array_len(rows); i++)
		assert_non_null(json_object_get(json_object_get(json, rows[i].section), rows[i].key));
	json_decref(json);
	config_done(&c);
}

#define URL "elasticsearch-url"
#define ES "elasticsearch-"

static void checks_combinations(void **state)
{
	(void)state;
	static const struct {
		const char *flags[6]; // name, value, ...
		const char *error;    // the beginning; NULL = all is well
	} sets[] = {
		{ { NULL }, NULL },
		{ { URL, "http://es:9200" }, NULL },
		{ { URL, "https://es.example/prefix/" }, NULL },
		{ { URL, "http://[::1]:9200" }, NULL },
		{ { URL, "https://es/a@b" }, NULL },
		{ { URL, "https://u:hunter2@es" },
		  "elasticsearch.url (--elasticsearch-url): must not hold a user" },
		{ { URL, "https://hunter2@es" },
		  "elasticsearch.url (--elasticsearch-url): must not hold a user" },
		{ { URL, "hunter2@es" }, "elasticsearch.url (--elasticsearch-url): must not hold a user" },
		{ { URL, "es:9200" },
		  "elasticsearch.url (--elasticsearch-url): must start with http:// or https://" },
		{ { URL, "ftp://es" },
		  "elasticsearch.url (--elasticsearch-url): must start with http:// or https://" },
		{ { URL, "http://" }, "elasticsearch.url (--elasticsearch-url): has no host" },
		{ { URL, "http:///x" }, "elasticsearch.url (--elasticsearch-url): has no host" },
		{ { URL, "http://:9200" }, "elasticsearch.url (--elasticsearch-url): has no host" },
		{ { URL, "http://es/?a" },
		  "elasticsearch.url (--elasticsearch-url): must not hold a space, ? or #" },
		{ { URL, "http://a b" },
		  "elasticsearch.url (--elasticsearch-url): must not hold a space, ? or #" },
		{ { ES "username", "u" },
		  "elasticsearch.username (--elasticsearch-username): needs elasticsearch.p" },
		{ { ES "password-file", "secret" },
		  "elasticsearch.password_file (--elasticsearch-password-file): needs" },
		{ { ES "username", "u", ES "password-file", "secret" }, NULL },
		{ { ES "username", "u:v", ES "password-file", "secret" },
		  "elasticsearch.username (--elasticsearch-username): must not hold a colon" },
		{ { ES "username", "u", ES "password-file", "secret", ES "api-key-file", "secret" },
		  "elasticsearch.api_key_file (--elasticsearch-api-key-file): excludes" },
		{ { ES "api-key-file", "secret" }, NULL },
		{ { ES "api-key-file", "absent" },
		  "elasticsearch.api_key_file (--elasticsearch-api-key-file): cannot read absent: No such file" },
		{ { ES "aws-region", "eu-west-1" }, NULL },
		{ { ES "aws-region", "eu-west-1", ES "api-key-file", "secret" },
		  "elasticsearch.aws_region (--elasticsearch-aws-region): excludes" },
		{ { ES "key-file", "secret" }, "elasticsearch.key_file (--elasticsearch-key-file): needs" },
		{ { ES "key-file", "absent", ES "cert-file", "absent" },
		  "elasticsearch.key_file (--elasticsearch-key-file): cannot read absent: No such file" },
		{ { ES "key-file", "secret", ES "cert-file", "absent" }, NULL },
		{ { "retry-base", "31s" }, "retry.cap (default): is shorter than retry.base" },
		{ { "retry-base", "1m", "retry-cap", "60s" }, NULL },
	};
	write_file("secret", "s\n", 2);
	for (size_t i = 0; i < array_len(sets); i++) {
		struct config c;
		struct err e = { .text = "" };
		config_init(&c);
		for (size_t n = 0; n < 6 && sets[i].flags[n]; n += 2)
			assert_true(set_flag(&c, sets[i].flags[n], sets[i].flags[n + 1], NULL));
		bool ok = config_check(&c, false, &e);
		if (ok != !sets[i].error ||
		    (!ok && strncmp(e.text, sets[i].error, strlen(sets[i].error)) != 0))
			fail_msg("row %zu: \"%s\" instead of \"%s\"", i, e.text,
				 sets[i].error ? sets[i].error : "");
		assert_null(strstr(e.text, "hunter2"));
		if (!ok)
			assert_int_equal(e.kind, ERR_CONFIG);
		config_done(&c);
	}
}

static void checks_required_values(void **state)
{
	(void)state;
	struct config c;
	struct err e;
	config_init(&c);
	assert_true(config_check(&c, false, &e));
	assert_false(config_check(&c, true, &e));
	assert_string_equal(e.text, "postgres.dsn is not set: write dsn under [postgres] in the file, or set "
				    "OUTBOXD_POSTGRES_DSN or --postgres-dsn");
	assert_true(read_var(&c, "OUTBOXD_POSTGRES_DSN=service=x", NULL));
	assert_false(config_check(&c, true, &e));
	assert_memory_equal(e.text, "elasticsearch.url is not set: ", 30);
	assert_true(read_var(&c, "OUTBOXD_ELASTICSEARCH_URL=http://es", NULL));
	assert_true(config_check(&c, true, &e));
	assert_true(set_flag(&c, "postgres-dsn", "", NULL)); // set, to nothing
	assert_false(config_check(&c, true, &e));
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
	assert_string_equal(e.text, "/dev/zero is longer than 65536 bytes");
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
	for (size_t i = 0; i < array_len(rows); i++)
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
	for (size_t i = 0; i < array_len(rows); i++) {
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
	for (size_t i = 0; i < array_len(rows); i++) {
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
	assert_non_null(strstr(reference, "| duration, 1s to 50s | `30s` |"));
	assert_non_null(strstr(reference, "| logfmt or json | `logfmt` |"));
	assert_non_null(strstr(reference, " **Required.** |\n"));
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
		cmocka_unit_test(mistakes_in_the_file),
		cmocka_unit_test(unreadable_files),
		cmocka_unit_test(a_long_value_is_read),
		cmocka_unit_test(mistakes_in_the_environment),
		cmocka_unit_test(mistakes_in_flags),
		cmocka_unit_test(flags_refuse_passwords),
		cmocka_unit_test(secrets_are_not_printed),
		cmocka_unit_test(prints_json),
		cmocka_unit_test(checks_combinations),
		cmocka_unit_test(checks_required_values),
		cmocka_unit_test(reads_secrets),
		cmocka_unit_test(a_secret_of_the_largest_size),
		cmocka_unit_test(the_sample_is_the_defaults),
		cmocka_unit_test(pages_name_every_option),
	};
	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
