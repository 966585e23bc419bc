// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "base/mem.h"
#include "pg/mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TEN "abcdefghij"
#define SIXTY TEN TEN TEN TEN TEN TEN
#define AE "\xc3\xa4" // one letter, two bytes

// A mapping of a configuration that is all default but for what the caller set.
static struct mapping mapping_of(struct config *c)
{
	struct mapping m;
	struct err e = { 0 };

	if (!mapping_init(&m, c, &e))
		fail_msg("%s", e.text);
	config_done(c);
	return m;
}

static struct mapping mapping_of_table(const char *table)
{
	struct config c;

	config_init(&c);
	c.outbox_table = table;
	return mapping_of(&c);
}

static struct mapping mapping_of_key(const char *key)
{
	struct config c;

	config_init(&c);
	c.outbox_key = key;
	return mapping_of(&c);
}

static void presets_fill_every_field(void **state)
{
	static const struct {
		int preset;
		const char *id, *key, *index, *document_id, *version, *document;
		bool creates, by_seq;
	} cases[] = {
		{ PRESET_DOCUMENT, "o.id", "o.aggregate_id", "o.aggregate_type", "o.aggregate_id", "o.id",
		  "o.data", false, false },
		{ PRESET_EVENTS, "o.id", "o.id", "o.aggregate_type", "o.id", "NULL", "o.data", true, false },
		{ PRESET_DEBEZIUM, "o.seq", "o.aggregateid", "lower(o.aggregatetype)", "o.aggregateid",
		  "o.seq", "o.payload", false, true },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct config c;
		struct mapping m;

		config_init(&c);
		c.outbox_preset = cases[i].preset;
		m = mapping_of(&c);
		assert_string_equal(m.id, cases[i].id);
		assert_string_equal(m.key, cases[i].key);
		assert_string_equal(m.index, cases[i].index);
		assert_string_equal(m.document_id, cases[i].document_id);
		assert_string_equal(m.version, cases[i].version);
		assert_string_equal(m.document, cases[i].document);
		assert_string_equal(m.routing, "NULL");
		assert_string_equal(m.pipeline, "NULL");
		assert_int_equal(strcmp(m.operation, "'create'") == 0, cases[i].creates);
		assert_int_equal(m.keyed_by_seq, cases[i].by_seq);
		assert_int_equal(m.version_is_id, !cases[i].creates);
		mapping_done(&m);
	}
}

static void the_configuration_wins_and_what_follows_from_it_follows(void **state)
{
	struct config c;
	struct mapping m;

	(void)state;
	config_init(&c);
	c.outbox_preset = PRESET_DEBEZIUM;
	c.outbox_id = "o.number";
	c.outbox_document_id = "o.data->>'id'";
	c.outbox_delete_by_query = "products";
	c.outbox_operation = "'index'";
	c.outbox_routing = "o.tenant";
	m = mapping_of(&c);
	assert_string_equal(m.id, "o.number");
	assert_string_equal(m.version, "o.number");  // follows id
	assert_false(m.keyed_by_seq);                // `init` need not add a column
	assert_string_equal(m.key, "o.data->>'id'"); // follows document_id
	assert_string_equal(m.operation, "'index'");
	assert_string_equal(m.routing, "o.tenant");
	assert_string_equal(m.id_column, "number");
	assert_string_equal(m.key_column, "data->>'id'");
	assert_non_null(strstr(m.lane, "(o.data->>'id')::text")); // of the key, ...
	assert_non_null(strstr(m.lane, " & 15)"));                // ... one of 16
	mapping_done(&m);

	config_init(&c);
	c.outbox_key = "o.k";
	c.outbox_version = "o.v";
	m = mapping_of(&c);
	assert_string_equal(m.key, "o.k");
	assert_string_equal(m.version, "o.v");
	assert_false(m.version_is_id);
	assert_string_equal(m.document_id, "o.aggregate_id");
	mapping_done(&m);
}

static void tables_are_read_as_sql_reads_them(void **state)
{
	static const struct {
		const char *text;
		const char *table, *literal, *publish, *journal, *channel;
	} cases[] = {
		{ "outbox", "\"outbox\"", "'\"outbox\"'", "\"outbox_publish\"", "\"outboxd_migrations\"",
		  "outboxd_outbox" },
		{ "App.OutBox", "\"app\".\"outbox\"", "'\"app\".\"outbox\"'", "\"app\".\"outbox_publish\"",
		  "\"app\".\"outboxd_migrations\"", "outboxd_outbox" },
		{ "_o1$x", "\"_o1$x\"", "'\"_o1$x\"'", "\"_o1$x_publish\"", "\"outboxd_migrations\"",
		  "outboxd__o1$x" },
		{ "\"My Schema\".\"Out.Box\"", "\"My Schema\".\"Out.Box\"", "'\"My Schema\".\"Out.Box\"'",
		  "\"My Schema\".\"Out.Box_publish\"", "\"My Schema\".\"outboxd_migrations\"",
		  "outboxd_Out.Box" },
		{ "\"a\"\"b\"", "\"a\"\"b\"", "'\"a\"\"b\"'", "\"a\"\"b_publish\"", "\"outboxd_migrations\"",
		  "outboxd_a\"b" },
		{ "\"it's\"", "\"it's\"", "'\"it''s\"'", "\"it's_publish\"", "\"outboxd_migrations\"",
		  "outboxd_it's" },
		{ "\"a\\b\"", "\"a\\b\"", "E'\"a\\\\b\"'", "\"a\\b_publish\"", "\"outboxd_migrations\"",
		  "outboxd_a\\b" },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct mapping m = mapping_of_table(cases[i].text);

		assert_string_equal(m.table, cases[i].table);
		assert_string_equal(m.table_literal, cases[i].literal);
		assert_string_equal(m.publish, cases[i].publish);
		assert_string_equal(m.journal, cases[i].journal);
		assert_string_equal(m.channel, cases[i].channel);
		assert_non_null(strstr(m.lane_class, cases[i].literal));
		mapping_done(&m);
	}
}

static void other_tables_are_refused(void **state)
{
	static const char *const texts[] = {
		"",
		".",
		"a.",
		".a",
		"a.b.c",
		"a b",
		"a;drop table x",
		"1a",
		"a-b",
		"\"",
		"\"\"",
		"\"a",
		"\"a\"b",
		"\"a\"\"",
		"a.\"\"",
		"\"\".a",
		"a..b",
		" a",
		"a ",
		"o'x",
		AE,
		SIXTY "abcd",
		SIXTY "abcd.a",
		"a." SIXTY "abcd",
		"\"" SIXTY "abcd\"",
		SIXTY SIXTY SIXTY SIXTY SIXTY,
		SIXTY SIXTY SIXTY SIXTY SIXTY ".a",
	};

	(void)state;
	for (size_t i = 0; i < array_len(texts); i++) {
		struct config c;
		struct mapping m;
		struct err e = { 0 };

		config_init(&c);
		c.outbox_table = texts[i];
		if (mapping_init(&m, &c, &e))
			fail_msg("\"%s\" was taken as %s", texts[i], m.table);
		assert_int_equal(e.kind, ERR_CONFIG);
		assert_non_null(strstr(e.text, "outbox.table"));
		assert_null(m.id); // nothing is left to free
		mapping_done(&m);
		config_done(&c);
	}
}

// What stands between the quotes of a name without schema.
static size_t name_length(const char *quoted)
{
	assert_true(quoted[0] == '"' && quoted[strlen(quoted) - 1] == '"');
	return strlen(quoted) - 2;
}

static bool is_utf8(const char *text)
{
	for (size_t i = 0; text[i]; i++) {
		bool lead = (unsigned char)text[i] >= 0xC0,
		     follows = ((unsigned char)text[i + 1] & 0xC0) == 0x80;

		if (lead && !follows)
			return false;
	}
	return true;
}

// PostgreSQL cuts names at 63 bytes; then two of ours could be the same.
static void long_names_keep_their_endings(void **state)
{
	static const char *const names[] = {
		"\"" SIXTY "abc\"",
		"\"" AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE
			AE AE "\"",
		"\"x" AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE AE
			AE AE "\"",
	};

	(void)state;
	for (size_t i = 0; i < array_len(names); i++) {
		struct mapping m = mapping_of_table(names[i]);
		const char *made[] = { m.lane_index, m.lane_index_name, m.parked_index, m.publish, m.notify };
		static const char *const endings[] = { NULL, NULL, "_parked\"", "_publish\"", "_notify\"" };

		assert_string_equal(m.table, names[i]);
		for (size_t n = 0; n < array_len(made); n++) {
			assert_true(name_length(made[n]) <= 63);
			assert_true(name_length(made[n]) >= 62); // and not shorter than needed
			assert_true(is_utf8(made[n]));
			assert_true(!endings[n] || strstr(made[n], endings[n]) != NULL);
		}
		assert_non_null(strstr(m.lane_index, "_lane_"));
		assert_true(is_utf8(m.channel));
		assert_true(strlen(m.channel) <= 63);
		mapping_done(&m);
	}
}

static void names_cut_short_are_told_apart(void **state)
{
	struct mapping a = mapping_of_table(SIXTY "1"), b = mapping_of_table(SIXTY "2");

	(void)state;
	assert_string_not_equal(a.lane_index, b.lane_index);
	assert_string_not_equal(a.parked_index, b.parked_index);
	assert_string_not_equal(a.publish, b.publish);
	assert_string_not_equal(a.notify, b.notify);
	assert_string_not_equal(a.channel, b.channel);
	mapping_done(&a);
	mapping_done(&b);
}

static void the_channel_is_listened_to_by_its_name(void **state)
{
	static const struct {
		const char *table, *listen, *literal;
	} cases[] = {
		{ "outbox", "LISTEN \"outboxd_outbox\"", "'outboxd_outbox'" },
		{ "\"a\"\"b'c\"", "LISTEN \"outboxd_a\"\"b'c\"", "'outboxd_a\"b''c'" },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct mapping m = mapping_of_table(cases[i].table);

		assert_string_equal(m.listen, cases[i].listen);
		assert_string_equal(m.channel_literal, cases[i].literal);
		mapping_done(&m);
	}
}

static void the_lane_index_is_named_after_what_it_indexes(void **state)
{
	static const struct {
		const char *id, *key;
		bool same;
	} cases[] = {
		{ "", "", true },
		{ "o.id", "o.aggregate_id", true }, // the defaults, said
		{ "", "o.other", false },
		{ "o.seq", "", false },
		{ "o.aggregate_id", "o.id", false },
	};
	struct mapping standard = mapping_of_table("outbox");

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct config c;
		struct mapping m;

		config_init(&c);
		c.outbox_id = cases[i].id;
		c.outbox_key = cases[i].key;
		m = mapping_of(&c);
		assert_int_equal(strcmp(m.lane_index, standard.lane_index) == 0, cases[i].same);
		assert_string_equal(m.parked_index, standard.parked_index);
		mapping_done(&m);
	}
	mapping_done(&standard);
}

static void the_alias_is_left_out_of_index_expressions(void **state)
{
	static const struct {
		const char *key, *column;
	} cases[] = {
		{ "o.id", "id" },
		{ "O.id", "id" },
		{ "o.data->>'id'", "data->>'id'" },
		{ "lower(o.a) || o.b", "lower(a) || b" },
		{ "coalesce(o.a,o.b)", "coalesce(a,b)" },
		{ "o.o", "o" },
		{ "o.\"Id\"", "\"Id\"" },
		{ "foo.id", "foo.id" },
		{ "_o.id || ao.id || o1.id", "_o.id || ao.id || o1.id" },
		{ "x.o.y", "x.o.y" }, // schema.table.column
		{ AE "o.id || o" AE ".id", AE "o.id || o" AE ".id" },
		{ "o$.id", "o$.id" },
		{ "o", "o" },
		{ "'o.id'", "'o.id'" },
		{ "'it''s o.id' || o.id", "'it''s o.id' || id" },
		{ "'o.a\\' || o.b", "'o.a\\' || b" },       // a backslash is nothing special here
		{ "E'\\' o.a' || o.b", "E'\\' o.a' || b" }, // but here it is
		{ "e'x\\\\' || o.b", "e'x\\\\' || b" },
		{ "\"o.id\"", "\"o.id\"" },
		{ "$$o.a$$ || o.b", "$$o.a$$ || b" },
		{ "$x$o.a$$o.b$x$ || o.c", "$x$o.a$$o.b$x$ || c" },
		{ "/* o.a */ o.b", "/* o.a */ b" },
		{ "o.a -- o.b\n|| o.c", "a -- o.b\n|| c" },
		{ "o.a - o.b", "a - b" },
		// Never past the end of what is not closed.
		{ "'o.a", "'o.a" },
		{ "E'o.a\\", "E'o.a\\" },
		{ "E'o.a", "E'o.a" },
		{ "\"o.a", "\"o.a" },
		{ "$$o.a", "$$o.a" },
		{ "$x", "$x" },
		{ "$x$", "$x$" },
		{ "/* o.a", "/* o.a" },
		{ "-- o.a", "-- o.a" },
		{ "$", "$" },
		{ "o.", "" },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct mapping m = mapping_of_key(cases[i].key);

		assert_string_equal(m.key, cases[i].key);
		assert_string_equal(m.key_column, cases[i].column);
		mapping_done(&m);
	}
}

static void sql_is_expanded(void **state)
{
	static const struct {
		const char *sql, *extra, *expected;
	} cases[] = {
		{ "", NULL, "" },
		{ "SELECT 1", NULL, "SELECT 1" },
		{ "SELECT {id} FROM {table} o", NULL, "SELECT o.id FROM \"outbox\" o" },
		{ "{id}{id}", NULL, "o.ido.id" },
		{ "{key_column}={table_literal}", NULL,
		  "{id}='\"outbox\"'" }, // what was put in is not read again
		{ "{unknown} {} {ID} {id {id}} '{}'::int[]", NULL,
		  "{unknown} {} {ID} {id o.id} '{}'::int[]" },
		{ "INDEX {concurrently} x", NULL, "INDEX  x" },
		{ "INDEX {concurrently} x", "CONCURRENTLY", "INDEX CONCURRENTLY x" },
		{ "{concurrently", "x", "{concurrently" },
		{ "{", NULL, "{" },
		{ "-- what it does\n-- and why {id}\nSELECT -- {id}\n1", NULL, "SELECT -- o.id\n1" },
		{ "-- nothing else\n", NULL, "" },
		{ "-- no end", NULL, "" },
		{ "--", NULL, "" },
	};
	struct mapping m = mapping_of_key("{id}");

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_free char *sql = mem_strdup(cases[i].sql); // on the heap: reading past the end is seen
		auto_free char *text = mapping_expand(&m, sql, cases[i].extra);

		assert_string_equal(text, cases[i].expected);
	}
	mapping_done(&m);
	mapping_done(&m); // twice is fine
}

static void all_names_of_the_mapping_can_be_put_in(void **state)
{
	struct mapping m = mapping_of_table("app.outbox");
	const struct {
		const char *name, *value;
	} cases[] = {
		{ "{id}", m.id },
		{ "{key}", m.key },
		{ "{index}", m.index },
		{ "{document_id}", m.document_id },
		{ "{operation}", m.operation },
		{ "{version}", m.version },
		{ "{routing}", m.routing },
		{ "{pipeline}", m.pipeline },
		{ "{document}", m.document },
		{ "{table}", m.table },
		{ "{table_literal}", m.table_literal },
		{ "{lane_index}", m.lane_index_name },
		{ "{lane_index_qualified}", m.lane_index },
		{ "{lane_index_literal}", m.lane_index_literal },
		{ "{journal}", m.journal },
		{ "{parked_index}", m.parked_index },
		{ "{parked_qualified}", m.parked_qualified },
		{ "{publish}", m.publish },
		{ "{notify}", m.notify },
		{ "{channel_literal}", m.channel_literal },
		{ "{lane}", m.lane },
		{ "{lane_class}", m.lane_class },
		{ "{id_column}", m.id_column },
		{ "{key_column}", m.key_column },
		{ "{id_column_literal}", m.id_column_literal },
		{ "{seq_index}", m.seq_index },
		{ "{rotate_literal}", m.rotate_literal },
		{ "{only}{row} = ANY ($1::{row_type}[]){bound_below}{unmoved}",
		  "ONLY ctid = ANY ($1::tid[])" },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_free char *text = mapping_expand(&m, cases[i].name, NULL);

		assert_string_equal(text, cases[i].value);
	}
	mapping_partition(&m);
	auto_free char *by_id = mapping_expand(&m, "{only}{row} = ANY ($1::{row_type}[])", NULL);
	assert_string_equal(by_id, "id = ANY ($1::bigint[])");
	mapping_done(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(presets_fill_every_field),
		cmocka_unit_test(the_configuration_wins_and_what_follows_from_it_follows),
		cmocka_unit_test(tables_are_read_as_sql_reads_them),
		cmocka_unit_test(other_tables_are_refused),
		cmocka_unit_test(long_names_keep_their_endings),
		cmocka_unit_test(names_cut_short_are_told_apart),
		cmocka_unit_test(the_channel_is_listened_to_by_its_name),
		cmocka_unit_test(the_lane_index_is_named_after_what_it_indexes),
		cmocka_unit_test(the_alias_is_left_out_of_index_expressions),
		cmocka_unit_test(sql_is_expanded),
		cmocka_unit_test(all_names_of_the_mapping_can_be_put_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
