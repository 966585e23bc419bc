// SPDX-License-Identifier: MIT
#include "base/mem.h"
#include "cmd/advice.h"
#include "cmd/command.h"
#include "cmd/table.h"
#include "pg/mend.h"
#include "pg/sync.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 100

// The columns of dead_one.sql.
enum { ID, CREATED_AT, DEAD_AT, ATTEMPTS, DEAD_SECONDS, INDEX, DOCUMENT_ID, TYPE, ERROR };

struct selection command_selection(const struct call *call)
{
	return (struct selection){
		.ids = call->ids              ? call->ids
		       : call->word_count > 0 ? call->words[0]
					      : NULL,
		.type = call->type,
		.index = call->index,
		.key = call->key,
	};
}

static bool list(struct mend *m, const struct call *call, struct err *e)
{
	struct pg_result *res = mend_list(m, call->limit > 0 ? call->limit : LIST_MAX, e);

	if (!res)
		return false;
	if (sync_rows(res) == 0 && !call->json)
		printf("no dead events\n");
	else
		table_print(res, call->json);
	sync_free(res);
	return true;
}

static void put_field(const char *name, const char *value)
{
	int pad = 12 - (int)strlen(name);

	printf("  ");
	table_put_text(name); // of the error's own making, too
	printf("%*s", pad > 0 ? pad + 1 : 1, "");
	table_put_text(value ? value : "-");
	putchar('\n');
}

static void put_error(const char *text)
{
	json_t *error = json_loads(text, 0, NULL), *value;
	const char *key;

	json_object_foreach(error, key, value)
	{
		auto_free char *other = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);

		put_field(key, other ? other : json_string_value(value));
	}
	json_decref(error);
}

// NULL = SQL NULL, or that the mapping fails on it: then `why` says so.
struct document {
	const char *text;
	const char *why;
};

static void print_one(const struct pg_result *res, const struct document *document)
{
	const char *attempts = sync_text(res, 0, ATTEMPTS), *id = sync_text(res, 0, ID);
	const char *ago = sync_text(res, 0, DEAD_SECONDS);

	printf("event %s was given up %s, ", id, sync_text(res, 0, DEAD_AT));
	table_put_age(strtod(ago, NULL));
	printf(" ago, after %s attempt%s\n", attempts, strcmp(attempts, "1") == 0 ? "" : "s");
	put_field("created", sync_text(res, 0, CREATED_AT));
	put_error(sync_text(res, 0, ERROR));
	if (document)
		put_field("document", document->why    ? document->why
				      : document->text ? document->text
						       : "NULL");
	printf("mend it:  %s\nthen:     outboxd requeue %s\n", advice_for(sync_text(res, 0, TYPE)), id);
}

static void set_member(json_t *object, const char *name, const json_t *from)
{
	json_t *value = json_object_get(from, name);

	json_object_set(object, name, value ? value : json_null());
}

static void print_one_json(const struct pg_result *res, const struct document *document)
{
	json_t *array = json_array(), *object = json_object(),
	       *error = json_loads(sync_text(res, 0, ERROR), 0, NULL);

	for (int c = 0; c < ERROR; c++)
		json_object_set_new(object, sync_column(res, c), table_json_cell(res, 0, c));
	set_member(object, "status", error);
	set_member(object, "reason", error);
	json_object_set_new(object, "error", error);
	json_object_set_new(object, "advice", json_string(advice_for(sync_text(res, 0, TYPE))));
	if (document)
		json_object_set_new(object, "document",
				    document->text ? json_string(document->text) : json_null());
	if (document && document->why)
		json_object_set_new(object, "document_error", json_string(document->why));
	json_array_append_new(array, object);
	json_dumpf(array, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(array);
}

static bool show_one(struct mend *m, const struct call *call, struct err *e)
{
	struct pg_result *res = mend_one(m, e), *document = NULL;
	bool found = res && sync_rows(res) > 0;
	struct err why = { 0 };
	struct document shown = { 0 };

	if (found && call->document) {
		document = mend_document(m, &why);
		shown.text = document && sync_rows(document) > 0 ? sync_text(document, 0, 0) : NULL;
		shown.why = document ? NULL : why.text;
	}
	if (found && call->json)
		print_one_json(res, call->document ? &shown : NULL);
	else if (found)
		print_one(res, call->document ? &shown : NULL);
	else if (res)
		puts(call->json ? "[]" : "no dead events");
	sync_free(document);
	sync_free(res);
	return res != NULL;
}

int cmd_dead(const struct call *call, struct err *e)
{
	const struct selection s = command_selection(call);
	bool one = s.ids && *s.ids && !strchr(s.ids, ',') && !s.type && !s.index && !s.key;
	struct desk *d;
	struct mend *m;

	if (call->document && !one) {
		err_set(e, ERR_USAGE, "--document: for a single event, such as outboxd dead 12 --document");
		return err_exit_code(e->kind);
	}
	d = desk_open(call->config, e);
	if (!d)
		return err_exit_code(e->kind);
	m = mend_new(d, &s, e);
	if (m)
		(void)(one ? show_one(m, call, e) : list(m, call, e));
	mend_free(m);
	desk_close(d);
	return err_exit_code(e->kind);
}
