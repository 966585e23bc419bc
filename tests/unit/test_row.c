// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "core/row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LITERAL(text) { .p = "" text, .n = sizeof(text) - 1 }
#define SLICE(text) ((struct slice)LITERAL(text))
static const struct slice sql_null;

static struct row good_row(void)
{
	return (struct row){
		.id = 7,
		.version = 7,
		.has_version = true,
		.index = SLICE("products"),
		.document_id = SLICE("42"),
		.operation = SLICE("index"),
		.document = SLICE("{\"name\":\"x\"}"),
	};
}

static bool accepts(const struct row *row, enum op *ret_op)
{
	struct refusal refusal = { .type = NULL };
	bool good = row_check(row, ret_op, &refusal);

	if (!good) {
		assert_non_null(refusal.type);
		assert_true(strlen(refusal.reason) > 10);
	} else {
		assert_null(refusal.type);
	}
	return good;
}

static void operation_is_read(void **state)
{
	static const struct {
		struct slice operation;
		bool has_document;
		bool good;
		enum op op;
	} cases[] = {
		{ LITERAL("index"), true, true, OP_INDEX },    { LITERAL("index"), false, true, OP_DELETE },
		{ LITERAL("create"), true, true, OP_CREATE },  { LITERAL("create"), false, false, OP_CREATE },
		{ LITERAL("delete"), true, true, OP_DELETE },  { LITERAL("delete"), false, true, OP_DELETE },
		{ { NULL, 0 }, true, true, OP_INDEX },         { { NULL, 0 }, false, true, OP_DELETE },
		{ LITERAL(""), true, false, OP_INDEX },        { LITERAL("INDEX"), true, false, OP_INDEX },
		{ LITERAL("update"), true, true, OP_UPDATE },  { LITERAL("update"), false, false, OP_UPDATE },
		{ LITERAL("index "), true, false, OP_INDEX },  { LITERAL("inde"), true, false, OP_INDEX },
		{ LITERAL("index\0"), true, false, OP_INDEX },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct row row = good_row();
		enum op op = OP_INDEX;

		row.operation = cases[i].operation;
		if (!cases[i].has_document)
			row.document = sql_null;
		assert_int_equal(accepts(&row, &op), cases[i].good);
		if (cases[i].good)
			assert_int_equal(op, cases[i].op);
	}
}

static void version_is_required_but_not_for_create(void **state)
{
	static const struct {
		const char *operation;
		bool has_version;
		int64_t version;
		bool good;
	} cases[] = {
		{ "index", true, 0, true },    { "index", true, INT64_MAX, true },
		{ "index", true, -1, false },  { "index", false, 0, false },
		{ "delete", true, 0, true },   { "delete", true, -1, false },
		{ "delete", false, 0, false }, { "create", false, 0, true },
		{ "create", true, -1, true },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct row row = good_row();
		enum op op;

		row.operation = (struct slice){ cases[i].operation, strlen(cases[i].operation) };
		row.has_version = cases[i].has_version;
		row.version = cases[i].version;
		assert_int_equal(accepts(&row, &op), cases[i].good);
	}
}

static void refresh_is_read(void **state)
{
	static const struct {
		struct slice text;
		bool good;
		enum refresh refresh;
	} cases[] = {
		{ { NULL, 0 }, true, REFRESH_NO },           { LITERAL(""), true, REFRESH_NO },
		{ LITERAL("false"), true, REFRESH_NO },      { LITERAL("true"), true, REFRESH_NOW },
		{ LITERAL("wait_for"), true, REFRESH_WAIT }, { LITERAL("wait"), false, REFRESH_NO },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct row row = good_row();
		enum op op;

		row.refresh = cases[i].text;
		assert_int_equal(accepts(&row, &op), cases[i].good);
		if (cases[i].good)
			assert_int_equal(row_refresh(&row), cases[i].refresh);
	}
}

static void index_name_follows_the_rules(void **state)
{
	static const struct slice good[] = {
		LITERAL("a"),     LITERAL("products-2026.11"), LITERAL(".hidden"),
		LITERAL("a_b+c"), LITERAL("caf\xC3\xA9"),      LITERAL("..."),
		LITERAL("0"),
	};
	static const struct slice bad[] = {
		{ NULL, 0 },      LITERAL(""),     LITERAL("."),           LITERAL(".."),
		LITERAL("-a"),    LITERAL("_a"),   LITERAL("+a"),          LITERAL("Products"),
		LITERAL("a b"),   LITERAL("a\\b"), LITERAL("a/b"),         LITERAL("a*"),
		LITERAL("a?"),    LITERAL("a\"b"), LITERAL("<a-{now/d}>"), LITERAL("a>"),
		LITERAL("a|b"),   LITERAL("a,b"),  LITERAL("a#"),          LITERAL("a:b"),
		LITERAL("a\xFF"), LITERAL("a\nb"), LITERAL("a\0b"),        LITERAL("\0"),
		LITERAL("a\x7F"),
	};
	struct row row = good_row();
	char name[256];
	enum op op;

	(void)state;
	for (size_t i = 0; i < array_len(good); i++) {
		row.index = good[i];
		assert_true(accepts(&row, &op));
	}
	for (size_t i = 0; i < array_len(bad); i++) {
		row.index = bad[i];
		assert_false(accepts(&row, &op));
	}
	memset(name, 'a', sizeof(name));
	row.index = (struct slice){ name, 255 };
	assert_true(accepts(&row, &op));
	row.index.n = 256;
	assert_false(accepts(&row, &op));
}

static void id_has_1_to_512_bytes(void **state)
{
	struct row row = good_row();
	char id[600];
	enum op op;

	(void)state;
	memset(id, '7', sizeof(id));
	row.document_id = (struct slice){ id, 512 };
	assert_true(accepts(&row, &op));
	row.document_id.n = 513;
	assert_false(accepts(&row, &op));
	for (size_t i = 0; i < 600; i += 3) // 200 euro signs
		memcpy(id + i, "\xE2\x82\xAC", 3);
	row.document_id.n = 600;
	assert_false(accepts(&row, &op));
	row.document_id.n = 510;
	assert_true(accepts(&row, &op));
	row.document_id = SLICE("");
	assert_false(accepts(&row, &op));
	row.document_id = sql_null;
	assert_false(accepts(&row, &op));
	row.document_id = SLICE("a b/\"\\\n\0_");
	assert_true(accepts(&row, &op));
}

static void utf8_is_strict(void **state)
{
	static const struct slice good[] = {
		LITERAL("\x7F"),         LITERAL("\xC2\x80"),         LITERAL("\xDF\xBF"),
		LITERAL("\xE0\xA0\x80"), LITERAL("\xED\x9F\xBF"),     LITERAL("\xEE\x80\x80"),
		LITERAL("\xEF\xBF\xBF"), LITERAL("\xF0\x90\x80\x80"), LITERAL("\xF4\x8F\xBF\xBF"),
	};
	static const struct slice bad[] = {
		LITERAL("\x80"),
		LITERAL("\xBF"),
		LITERAL("\xC0\x80"),
		LITERAL("\xC1\xBF"),
		LITERAL("\xC2"),
		LITERAL("\xC2 "),
		LITERAL("\xE0\x9F\xBF"),
		LITERAL("\xED\xA0\x80"),
		LITERAL("\xED\xBF\xBF"),
		LITERAL("\xE2\x82"),
		LITERAL("\xE2\x82\x28"),
		LITERAL("\xE2\x28\xA1"),
		LITERAL("\xF0\x8F\xBF\xBF"),
		LITERAL("\xF4\x90\x80\x80"),
		LITERAL("\xF5\x80\x80\x80"),
		LITERAL("\xF0\x9F\x98"),
		LITERAL("\xF0\x9F\x98\x28"),
		LITERAL("\xFE"),
		LITERAL("\xFF"),
	};
	struct row row = good_row();
	enum op op;

	(void)state;
	for (size_t i = 0; i < array_len(good); i++) {
		row.document_id = row.routing = row.pipeline = good[i];
		assert_true(accepts(&row, &op));
	}
	for (size_t i = 0; i < array_len(bad); i++) {
		row = good_row();
		row.document_id = bad[i];
		assert_false(accepts(&row, &op));
		row = good_row();
		row.routing = bad[i];
		assert_false(accepts(&row, &op));
		row = good_row();
		row.pipeline = bad[i];
		assert_false(accepts(&row, &op));
	}
}

static void document_is_an_object(void **state)
{
	static const struct slice good[] = { LITERAL("{}"), LITERAL(" \t\r\n{\"a\":1}"), LITERAL("{") };
	static const struct slice bad[] = { LITERAL(""),
					    LITERAL(" \n"),
					    LITERAL("[]"),
					    LITERAL("\"{\""),
					    LITERAL("null"),
					    LITERAL("7"),
					    LITERAL("\xEF\xBB\xBF{}"),
					    LITERAL("\0{}"),
					    LITERAL("\v{}") };
	struct row row = good_row();
	enum op op;

	(void)state;
	for (size_t i = 0; i < array_len(good); i++) {
		row.document = good[i];
		assert_true(accepts(&row, &op));
	}
	for (size_t i = 0; i < array_len(bad); i++) {
		row.document = bad[i];
		row.operation = SLICE("index");
		assert_false(accepts(&row, &op));
		row.operation = SLICE("delete"); // does not send it
		assert_true(accepts(&row, &op));
	}
}

static void refusal_speaks_like_elasticsearch(void **state)
{
	struct row row = good_row();
	struct refusal refusal;
	enum op op = OP_CREATE;

	(void)state;
	row.index = SLICE("Products");
	assert_false(row_check(&row, &op, &refusal));
	assert_string_equal(refusal.type, "invalid_index_name_exception");
	assert_string_equal(refusal.reason, "the index name must be lower case, it has 'P'");
	assert_int_equal(op, OP_CREATE); // written only on success
}

static void queries_are_read(void **state)
{
	static const struct {
		const char *allowed, *document, *query, *type;
	} cases[] = {
		{ "products", "{\"query\": {\"match_all\": {}}}", "{\"match_all\": {}}", NULL },
		{ " a,\tproducts ,b", "{\"query\":{}}", "{}", NULL },
		{ "", "{\"query\":{}}", NULL, "delete_by_query_not_allowed" },
		{ "product,products2,roducts", "{\"query\":{}}", NULL, "delete_by_query_not_allowed" },
		{ "products", "{\"query\":{},\"size\":1}", NULL, "delete_by_query_invalid" },
		{ "products", "{\"size\":1,\"query\":{}}", NULL, "delete_by_query_invalid" },
		{ "products", "{\"query\":[]}", NULL, "delete_by_query_invalid" },
		{ "products", "{\"query\":{}} x", NULL, "delete_by_query_invalid" },
		{ "products", "{}", NULL, "delete_by_query_invalid" },
		{ "products", NULL, NULL, "delete_by_query_invalid" },
	};
	struct row row = good_row();
	enum op op;

	(void)state;
	row.operation = SLICE("delete_by_query");
	row.document_id = sql_null;
	assert_true(row_is_query(&row));
	assert_false(accepts(&row, &op)); // it is never sent
	for (size_t i = 0; i < array_len(cases); i++) {
		const char *document = cases[i].document;
		struct slice query = sql_null;
		struct refusal why = { .type = NULL };
		bool good;

		row.document = (struct slice){ document, document ? strlen(document) : 0 };
		good = row_check_query(&row, cases[i].allowed, &query, &why);
		assert_int_equal(good, cases[i].type == NULL);
		if (good) {
			assert_int_equal(query.n, strlen(cases[i].query));
			assert_memory_equal(query.p, cases[i].query, query.n);
		} else {
			assert_string_equal(why.type, cases[i].type);
		}
	}
	row.has_version = false;
	assert_false(row_check_query(&row, "products", NULL, &(struct refusal){ 0 }));
	row = good_row();
	row.index = SLICE("_all");
	assert_false(row_check_query(&row, "_all", NULL, &(struct refusal){ 0 }));
}

static void an_index_of_queries_takes_whole_documents(void **state)
{
	struct row row = good_row();
	struct refusal why = { .type = NULL };

	(void)state;
	for (enum op op = OP_INDEX; op <= OP_UPDATE; op++) {
		assert_true(row_check_whole(&row, op, "others", &why));
		assert_int_equal(row_check_whole(&row, op, "others, products", &why),
				 op == OP_INDEX || op == OP_DELETE);
	}
	assert_string_equal(why.type, "whole_documents_only");
	assert_non_null(strstr(why.reason, "update"));
}

static void operations_have_names(void **state)
{
	(void)state;
	assert_string_equal(op_name(OP_INDEX), "index");
	assert_string_equal(op_name(OP_CREATE), "create");
	assert_string_equal(op_name(OP_DELETE), "delete");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operation_is_read),
		cmocka_unit_test(version_is_required_but_not_for_create),
		cmocka_unit_test(refresh_is_read),
		cmocka_unit_test(index_name_follows_the_rules),
		cmocka_unit_test(id_has_1_to_512_bytes),
		cmocka_unit_test(utf8_is_strict),
		cmocka_unit_test(document_is_an_object),
		cmocka_unit_test(refusal_speaks_like_elasticsearch),
		cmocka_unit_test(operations_have_names),
		cmocka_unit_test(queries_are_read),
		cmocka_unit_test(an_index_of_queries_takes_whole_documents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
