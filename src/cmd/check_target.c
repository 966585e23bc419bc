// SPDX-License-Identifier: MIT
// What a name will meet: our privileges on it, and the template of an index that is not there yet.
#include "base/buf.h"
#include "base/mem.h"
#include "cmd/check.h"
#include "core/row.h"
#include "es/http_sync.h"

#include <fnmatch.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define PRIVILEGES "privileges"
#define INDEX "index"

static bool has(const json_t *granted, const char *privilege)
{
	return json_is_true(json_object_get(granted, privilege));
}

static void need(struct elastic *es, const struct target *t, bool granted, bool seen, const char *privilege)
{
	struct findings *f = &elastic_checkup(es)->findings;

	if (granted)
		findings_add(f, PRIVILEGES, FINDING_OK, "", "%s on %s is granted", privilege, t->index);
	else
		findings_add(
			f, PRIVILEGES, seen ? FINDING_PROBLEM : FINDING_WARNING,
			"add it to the role of that user or key",
			seen ? "%s on %s is missing: its events wait"
			     : "%s on %s is missing: the first such event would wait, and all of its index with it",
			privilege, t->index);
}

static json_t *question(const struct target *t)
{
	return json_pack("{s:[{s:[s],s:[s,s,s,s,s,s,s,s]}]}", "index", "names", t->index, "privileges",
			 "index", "create", "create_doc", "delete", "read", "maintenance", "auto_configure",
			 "create_index");
}

void check_privileges(struct elastic *es, const struct target *t, bool exists)
{
	const struct config *c = elastic_checkup(es)->config;
	bool appends = c->outbox_preset == PRESET_EVENTS, tombstones = c->outbox_deletes == DELETES_TOMBSTONE;
	json_t *body = question(t);
	auto_free char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	auto_answer a = elastic_ask(es, "POST", "/_security/user/_has_privileges", text);
	const json_t *granted = json_object_get(json_object_get(a.json, "index"), t->index);
	bool deletes = (t->ops & 1 << OP_DELETE) && !tombstones;
	bool updates = t->ops & 1 << OP_UPDATE;
	bool queries = row_takes_queries((struct slice){ t->index, strlen(t->index) },
					 c->outbox_delete_by_query);
	bool indexes = (t->ops & 1 << OP_INDEX) || updates || ((t->ops & 1 << OP_DELETE) && tombstones);
	bool creates = t->ops & 1 << OP_CREATE;

	json_decref(body);
	if (a.status != 200 || !granted) {
		elastic_not_seen(es, PRIVILEGES, t->index, &a);
		return;
	}
	if (indexes || !appends)
		need(es, t, has(granted, "index"), indexes, "index");
	if (updates || queries) // what it is merged into, or deletes
		need(es, t, has(granted, "read"), true, "read");
	if (queries) // to find what was just written
		need(es, t, has(granted, "maintenance"), true, "maintenance");
	if (creates || appends)
		need(es, t, has(granted, "index") || has(granted, "create") || has(granted, "create_doc"),
		     creates, "create_doc");
	if (deletes || !(appends || tombstones))
		need(es, t, has(granted, "delete"), deletes, "delete");
	if (!exists)
		need(es, t, has(granted, "auto_configure") || has(granted, "create_index"), true,
		     "auto_configure");
}

static bool matches(const json_t *patterns, const char *index)
{
	const json_t *pattern;
	size_t i;

	json_array_foreach(patterns, i, pattern)
	{
		if (json_is_string(pattern) && fnmatch(json_string_value(pattern), index, 0) == 0)
			return true;
	}
	return false;
}

// The composable template of the highest priority; NULL = none matches.
static const json_t *winner(const json_t *list, const char *index)
{
	const json_t *each, *best = NULL;
	json_int_t best_priority = -1;
	size_t i;

	json_array_foreach(list, i, each)
	{
		const json_t *template = json_object_get(each, "index_template");
		json_int_t priority = json_integer_value(json_object_get(template, "priority"));

		if (priority > best_priority && matches(json_object_get(template, "index_patterns"), index)) {
			best = each;
			best_priority = priority;
		}
	}
	return best;
}

static void check_simulated(struct elastic *es, const struct target *t, const char *name)
{
	auto_free char *path = http_path("/_index_template/_simulate_index/", t->index, "");
	auto_answer a = elastic_ask(es, "POST", path, NULL);
	const json_t *made = json_object_get(a.json, "template");

	if (a.status != 200)
		elastic_not_seen(es, INDEX, name, &a);
	else
		check_index_settings(es, name, json_object_get(made, "settings"),
				     json_object_get(made, "mappings"));
}

// Templates of the old kind count only where none of the new kind matches.
static void check_legacy(struct elastic *es, const struct target *t)
{
	auto_answer a = elastic_ask(es, "GET", "/_template", NULL);
	const char *name;
	json_t *each;

	json_object_foreach(a.json, name, each)
	{
		auto_buf whose = { 0 };

		if (!matches(json_object_get(each, "index_patterns"), t->index))
			continue;
		buf_init(&whose, 4096);
		buf_addf(&whose, "template %s, which %s will get", name, t->index);
		check_index_settings(es, buf_str(&whose), json_object_get(each, "settings"),
				     json_object_get(each, "mappings"));
	}
}

void check_template(struct elastic *es, const struct target *t)
{
	auto_answer a = elastic_ask(es, "GET", "/_index_template", NULL);
	const json_t *found = winner(json_object_get(a.json, "index_templates"), t->index);
	const char *name = json_string_value(json_object_get(found, "name"));
	auto_buf whose = { 0 };

	if (a.status != 200) {
		elastic_not_seen(es, INDEX, "templates", &a);
		return;
	}
	if (!found || !name) {
		check_legacy(es, t);
		return;
	}
	buf_init(&whose, 4096);
	buf_addf(&whose, "template %s, which %s will get", name, t->index);
	if (json_object_get(json_object_get(found, "index_template"), "data_stream") &&
	    (t->ops & OPS_VERSIONED))
		findings_add(
			&elastic_checkup(es)->findings, INDEX, FINDING_PROBLEM,
			"set outbox.operation = 'create' (or preset = events), or name the index otherwise",
			"%s makes a data stream: it takes only the operation create, other events wait",
			buf_str(&whose));
	check_simulated(es, t, buf_str(&whose));
}
