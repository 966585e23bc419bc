// SPDX-License-Identifier: MIT
#include "base/buf.h"
#include "base/config.h"
#include "base/mem.h"
#include "config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char key_list[] = "allowed: workers, batch_rows, batch_bytes, poll_interval, notify, ";
static const char section_list[] = "allowed: postgres, outbox, elasticsearch, relay, retry, retention, ";

// The beginning of the message of each mistake in a file.
static const struct {
	const char *text, *error;
	const char *also; // another part of it
} file_mistakes[] = {
	{ "[relay]\n\nworker = 1\n",
	  "f.conf:3: unknown key \"worker\" in [relay], did you mean \"workers\"?; ", key_list },
	{ "[relay]\nWorkers = 1\n",
	  "f.conf:2: unknown key \"Workers\" in [relay], did you mean \"workers\"?; ", key_list },
	{ "[relay]\nbathc_rows = 1\n",
	  "f.conf:2: unknown key \"bathc_rows\" in [relay], did you mean \"batch_rows\"?; ", key_list },
	{ "[outbox]\nkye = 1\n", "f.conf:2: unknown key \"kye\" in [outbox], did you mean \"key\"?; ", "" },
	{ "[relay]\nquux = 1\n", "f.conf:2: unknown key \"quux\" in [relay]; ", key_list },
	{ "[realy]\nworkers = 1\n", "f.conf:2: unknown section [realy], did you mean \"relay\"?; ",
	  section_list },
	{ "[what]\nworkers = 1\n", "f.conf:2: unknown section [what]; ", section_list },
	{ "[relay]\nworkers = 1\n[log]\nlevel = warn\n[relay]\nworkers = 1\n",
	  "f.conf:6: relay.workers is set twice, first in line 2", "" },
	{ "[relay]\nworkers = 0\n", "f.conf:2: relay.workers: \"0\" is out of range; allowed: 1 to 16", "" },
	{ "[relay]\nworkers = 17\n", "f.conf:2: relay.workers: \"17\" is out of range; allowed: 1 to 16",
	  "" },
	{ "[relay]\nworkers = -1\n", "f.conf:2: relay.workers: \"-1\" is out of range; allowed: 1 to 16",
	  "" },
	{ "[relay]\nworkers = 99999999999999999999\n",
	  "f.conf:2: relay.workers: \"99999999999999999999\" is too large; allowed: 1 to 16", "" },
	{ "[relay]\nworkers = many\n",
	  "f.conf:2: relay.workers: \"many\" is not a whole number; allowed: 1 to 16", "" },
	{ "[relay]\nworkers =\n", "f.conf:2: relay.workers: must not be empty; allowed: 1 to 16", "" },
	{ "[relay]\nworkers = 1\n  2\n", "f.conf:2: relay.workers: \"1\n2\" is not a whole number", "" },
	{ "[relay]\npoll_interval = 5\n",
	  "f.conf:2: relay.poll_interval: \"5\" has no unit: write a number and", "; allowed: 10ms to 1h" },
	{ "[relay]\npoll_interval = 5y\n", "f.conf:2: relay.poll_interval: \"5y\" is not a duration: write a",
	  "; allowed: 10ms to 1h" },
	{ "[relay]\npoll_interval = 9ms\n",
	  "f.conf:2: relay.poll_interval: \"9ms\" is out of range; allowed: 10ms to 1h", "" },
	{ "[relay]\nbatch_bytes = 1TB\n",
	  "f.conf:2: relay.batch_bytes: \"1TB\" is not a size: write bytes, or", "; allowed: 16kB to 90MB" },
	{ "[relay]\nbatch_bytes = 16383\n",
	  "f.conf:2: relay.batch_bytes: \"16383\" is out of range; allowed: 16kB to 90MB", "" },
	{ "[relay]\nnotify = maybe\n", "f.conf:2: relay.notify: \"maybe\" is neither true nor false",
	  "; allowed: true or false" },
	{ "[relay]\nnotify =\n", "f.conf:2: relay.notify: must not be empty; allowed: true or false", "" },
	{ "[log]\nlevel = wran\n",
	  "f.conf:2: log.level: \"wran\" is not known, did you mean \"warn\"?; allowed: debug, info, warn or error",
	  "" },
	{ "[log]\nlevel = Info\n",
	  "f.conf:2: log.level: \"Info\" is not known, did you mean \"info\"?; allowed: debug, info, warn or error",
	  "" },
	{ "[log]\nformat = xml\n", "f.conf:2: log.format: \"xml\" is not known; allowed: logfmt or json",
	  "" },
	{ "[log]\nformat = logfmt|json\n", "f.conf:2: log.format: \"logfmt|json\" is not known", "" },
	{ "[outbox]\ntable =\n", "f.conf:2: outbox.table: must not be empty", "" },
	{ "[outbox]\ntable = a\n b\n", "f.conf:2: outbox.table: must be on one line", "" },
	{ "[outbox]\ntable = a\x01z\n", "f.conf:2: outbox.table: holds a control character (0x01)", "" },
	{ "[outbox]\nkey = a\x1b\n", "f.conf:2: outbox.key: holds a control character (0x1b)", "" },
	{ "workers = 1\n", "f.conf:1: a key before the first [section]", "" },
};

static void mistakes_in_the_file(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_len(file_mistakes); i++) {
		struct config c;
		struct err e = { .text = "" };
		config_init(&c);
		if (read_text(&c, file_mistakes[i].text, &e))
			fail_msg("was read:\n%s", file_mistakes[i].text);
		if (strncmp(e.text, file_mistakes[i].error, strlen(file_mistakes[i].error)) != 0 ||
		    !strstr(e.text, file_mistakes[i].also))
			fail_msg("\n%s\ninstead of\n%s", e.text, file_mistakes[i].error);
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

#define URL "elasticsearch-url"
#define ES "elasticsearch-"

static const struct {
	const char *flags[6]; // name, value, ...
	const char *error;    // the beginning; NULL = all is well
} combinations[] = {
	{ { NULL }, NULL },
	{ { URL, "http://es:9200" }, NULL },
	{ { URL, "https://es.example/prefix/" }, NULL },
	{ { URL, "http://[::1]:9200" }, NULL },
	{ { URL, "https://es/a@b" }, NULL },
	{ { URL, "https://u:hunter2@es" }, "elasticsearch.url (--elasticsearch-url): must not hold a user" },
	{ { URL, "https://hunter2@es" }, "elasticsearch.url (--elasticsearch-url): must not hold a user" },
	{ { URL, "hunter2@es" }, "elasticsearch.url (--elasticsearch-url): must not hold a user" },
	{ { URL, "es:9200" },
	  "elasticsearch.url (--elasticsearch-url): must start with http:// or https://" },
	{ { URL, "ftp://es" },
	  "elasticsearch.url (--elasticsearch-url): must start with http:// or https://" },
	{ { URL, "http://" }, "elasticsearch.url (--elasticsearch-url): has no host" },
	{ { URL, "http:///x" }, "elasticsearch.url (--elasticsearch-url): has no host" },
	{ { URL, "http://:9200" }, "elasticsearch.url (--elasticsearch-url): has no host" },
	{ { URL, "http://es/?a" }, "elasticsearch.url (--elasticsearch-url): must not hold a space, ? or #" },
	{ { URL, "http://a b" }, "elasticsearch.url (--elasticsearch-url): must not hold a space, ? or #" },
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

static void checks_combinations(void **state)
{
	(void)state;
	write_file("secret", "s\n", 2);
	for (size_t i = 0; i < array_len(combinations); i++) {
		struct config c;
		struct err e = { .text = "" };
		config_init(&c);
		for (size_t n = 0; n < 6 && combinations[i].flags[n]; n += 2)
			assert_true(
				set_flag(&c, combinations[i].flags[n], combinations[i].flags[n + 1], NULL));
		bool ok = config_check(&c, 0, &e);
		if (ok != !combinations[i].error ||
		    (!ok && strncmp(e.text, combinations[i].error, strlen(combinations[i].error)) != 0))
			fail_msg("row %zu: \"%s\" instead of \"%s\"", i, e.text,
				 combinations[i].error ? combinations[i].error : "");
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
	assert_true(config_check(&c, 0, &e));
	assert_false(config_check(&c, NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, &e));
	assert_string_equal(e.text, "postgres.dsn is not set: write dsn under [postgres] in the file, or set "
				    "OUTBOXD_POSTGRES_DSN or --postgres-dsn");
	assert_true(read_var(&c, "OUTBOXD_POSTGRES_DSN=service=x", NULL));
	assert_false(config_check(&c, NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, &e));
	assert_memory_equal(e.text, "elasticsearch.url is not set: ", 30);
	assert_true(read_var(&c, "OUTBOXD_ELASTICSEARCH_URL=http://es", NULL));
	assert_true(config_check(&c, NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, &e));
	assert_true(set_flag(&c, "postgres-dsn", "", NULL)); // set, to nothing
	assert_false(config_check(&c, NEEDS_POSTGRES | NEEDS_ELASTICSEARCH, &e));
	config_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_in_the_file), cmocka_unit_test(unreadable_files),
		cmocka_unit_test(a_long_value_is_read), cmocka_unit_test(mistakes_in_the_environment),
		cmocka_unit_test(mistakes_in_flags),    cmocka_unit_test(flags_refuse_passwords),
		cmocka_unit_test(checks_combinations),  cmocka_unit_test(checks_required_values),
	};
	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
