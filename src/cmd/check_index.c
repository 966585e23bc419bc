// SPDX-License-Identifier: MIT
// One index that the rows name: is it there, may it be written, is it set up for what the relay sends?
#include "base/mem.h"
#include "base/parse.h"
#include "cmd/check.h"
#include "core/row.h"
#include "es/http_sync.h"

#include <fnmatch.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define INDEX "index"
#define GC_DELETES_MS 60000

// "index.translog.durability" of settings that are flat or nested.
static const char *setting(const json_t *settings, const char *name)
{
	const json_t *at = settings, *flat = json_object_get(settings, name);
	const char *part = name;

	if (flat)
		return json_string_value(flat);
	while (at && *part) {
		size_t n = strcspn(part, ".");
		auto_free char *key = mem_strndup(part, n);

		at = json_object_get(at, key);
		part += n + (part[n] == '.');
	}
	return json_string_value(at);
}

static void check_tombstones(struct elastic *es, const char *whose, const json_t *mapping)
{
	static const char *const takes_true[] = { "boolean", "keyword", "text", "wildcard",
						  "match_only_text" };
	const json_t *field = json_object_get(json_object_get(mapping, "properties"), "deleted");
	const json_t *dynamic = json_object_get(mapping, "dynamic");
	const char *mode = json_string_value(dynamic),
		   *type = json_string_value(json_object_get(field, "type"));
	bool fits = !field;

	for (size_t i = 0; i < array_len(takes_true) && type; i++)
		fits |= strcmp(type, takes_true[i]) == 0;
	if (!field && mode && strcmp(mode, "strict") == 0)
		findings_add(
			&elastic_checkup(es)->findings, INDEX, FINDING_PROBLEM,
			"add the field to the mapping: \"deleted\": {\"type\": \"boolean\"}",
			"%s: the mapping is strict and has no field `deleted`, so every delete (a tombstone) would go "
			"dead",
			whose);
	else if (!fits)
		findings_add(&elastic_checkup(es)->findings, INDEX, FINDING_PROBLEM,
			     "make the field a boolean, or set outbox.deletes = delete",
			     "%s: the field `deleted` (%s) does not take the `true` of a tombstone", whose,
			     type ? type : "object");
}

static void check_pipeline(struct elastic *es, const char *whose, const char *kind, const char *name)
{
	auto_free char *path = http_path("/_ingest/pipeline/", name, "");
	auto_answer a = elastic_ask(es, "GET", path, NULL);
	bool missing = a.status == 404;

	if (a.status == 0)
		return;
	findings_add(
		&elastic_checkup(es)->findings, INDEX, missing ? FINDING_PROBLEM : FINDING_WARNING,
		missing ? "make the pipeline, or remove that setting"
			: "see that it leaves documents as they are meant to be, also {\"deleted\":true} with "
			  "outbox.deletes = tombstone",
		missing ? "%s: %s is %s, which does not exist: its events wait"
			: "%s: %s is %s: it may change every document; one that it fails on is tried again, and dead after "
			  "retry.max_attempts",
		whose, kind, name);
}

static void check_pipelines(struct elastic *es, const char *whose, const json_t *settings)
{
	static const char *const kinds[] = { "index.default_pipeline", "index.final_pipeline" };

	for (size_t i = 0; i < array_len(kinds); i++) {
		const char *name = setting(settings, kinds[i]);

		if (name && strcmp(name, "_none") != 0)
			check_pipeline(es, whose, kinds[i], name);
	}
}

// wait_for ends with the index's refresh; one that does not come in time looks like an Elasticsearch that is away.
static void check_refresh(struct elastic *es, const char *whose, const char *interval)
{
	const struct config *c = elastic_checkup(es)->config;
	bool waits = c->elasticsearch_refresh == REFRESH_WAIT || *c->outbox_refresh;
	int64_t interval_ms = 0;
	struct err ignored;

	if (!waits || !interval ||
	    (strcmp(interval, "-1") != 0 && (!parse_duration_ms(interval, &interval_ms, &ignored) ||
					     interval_ms < c->elasticsearch_timeout / 2)))
		return;
	findings_add(
		&elastic_checkup(es)->findings, INDEX, FINDING_PROBLEM,
		"PUT /INDEX/_settings {\"index.refresh_interval\": \"1s\"}, or leave wait_for away",
		"%s: index.refresh_interval is %s, and a request with refresh = wait_for waits for that: longer than "
		"elasticsearch.timeout lets it",
		whose, interval);
}

void check_index_settings(struct elastic *es, const char *whose, const json_t *settings,
			  const json_t *mapping)
{
	struct checkup *c = elastic_checkup(es);
	const char *durability = setting(settings, "index.translog.durability");
	const char *gc_deletes = setting(settings, "index.gc_deletes");
	int64_t gc_ms = GC_DELETES_MS;
	struct err ignored;

	if (durability && (*durability == 'a' || *durability == 'A')) // async, in any case
		findings_add(
			&c->findings, INDEX, FINDING_WARNING,
			"PUT /INDEX/_settings {\"index.translog.durability\": \"request\"}",
			"%s: index.translog.durability is async: acknowledged events are lost when a node dies",
			whose);
	if (gc_deletes && parse_duration_ms(gc_deletes, &gc_ms, &ignored) && gc_ms < GC_DELETES_MS)
		findings_add(&c->findings, INDEX, FINDING_WARNING,
			     "PUT /INDEX/_settings {\"index.gc_deletes\": \"60s\"}",
			     "%s: index.gc_deletes is %s: a late request may bring back a deleted document",
			     whose, gc_deletes);
	check_pipelines(es, whose, settings);
	check_refresh(es, whose, setting(settings, "index.refresh_interval"));
	if (c->config->outbox_deletes == DELETES_TOMBSTONE)
		check_tombstones(es, whose, mapping);
}

static void check_blocks(struct elastic *es, const char *index, const json_t *settings)
{
	static const char *const blocks[] = { "index.blocks.write", "index.blocks.read_only",
					      "index.blocks.read_only_allow_delete" };

	for (size_t i = 0; i < array_len(blocks); i++) {
		const char *value = setting(settings, blocks[i]);

		if (value && strcmp(value, "true") == 0)
			findings_add(
				&elastic_checkup(es)->findings, INDEX, FINDING_PROBLEM,
				"PUT /INDEX/_settings with that set to null; for read_only_allow_delete free the "
				"disk first",
				"%s is blocked: %s", index, blocks[i]);
	}
}

// The settings and mappings of a name: its own, or those of every index behind an alias.
static void check_concrete(struct elastic *es, const char *name)
{
	auto_free char *settings_path = http_path("/", name, "/_settings?flat_settings=true");
	auto_free char *mapping_path = http_path("/", name, "/_mapping");
	auto_answer settings = elastic_ask(es, "GET", settings_path, NULL);
	auto_answer mappings = elastic_ask(es, "GET", mapping_path, NULL);
	const char *index;
	json_t *each;

	if (settings.status != 200 || mappings.status != 200) {
		elastic_not_seen(es, INDEX, name, settings.status != 200 ? &settings : &mappings);
		return;
	}
	json_object_foreach(settings.json, index, each)
	{
		const json_t *own = json_object_get(each, "settings");
		const json_t *mapping = json_object_get(json_object_get(mappings.json, index), "mappings");

		check_blocks(es, index, own);
		check_index_settings(es, index, own, mapping);
	}
}

static void check_alias(struct elastic *es, const char *name)
{
	auto_free char *path = http_path("/_alias/", name, "");
	auto_answer a = elastic_ask(es, "GET", path, NULL);
	size_t count = json_object_size(a.json);
	const char *index, *target = NULL;
	json_t *each;

	if (a.status != 200) {
		elastic_not_seen(es, INDEX, name, &a);
		return;
	}
	json_object_foreach(a.json, index, each)
	{
		const json_t *alias = json_object_get(json_object_get(each, "aliases"), name);
		const json_t *writes = json_object_get(alias, "is_write_index");

		if (json_is_true(writes) || (count == 1 && !json_is_false(writes)))
			target = index;
	}
	if (target)
		findings_add(&elastic_checkup(es)->findings, INDEX, FINDING_OK, "",
			     "%s is an alias; %s is written", name, target);
	else
		findings_add(
			&elastic_checkup(es)->findings, INDEX, FINDING_PROBLEM,
			"POST /_aliases with \"is_write_index\": true for one of them, or name that one in outbox.index",
			"%s is an alias of %zu indexes without a write index: its events wait", name, count);
}

static bool has_name(const json_t *list, const char *name, const json_t **ret)
{
	const json_t *each;
	size_t i;

	json_array_foreach(list, i, each)
	{
		const char *text = json_string_value(json_object_get(each, "name"));

		if (text && strcmp(text, name) == 0)
			return *ret = each, true;
	}
	return false;
}

static bool is_closed(const json_t *index)
{
	const json_t *attribute;
	size_t i;

	json_array_foreach(json_object_get(index, "attributes"), i, attribute)
	{
		if (json_is_string(attribute) && strcmp(json_string_value(attribute), "closed") == 0)
			return true;
	}
	return false;
}

static void check_existing(struct elastic *es, const struct target *t, const json_t *found)
{
	struct findings *f = &elastic_checkup(es)->findings;
	const json_t *it = NULL;

	if (has_name(json_object_get(found, "data_streams"), t->index, &it)) {
		bool fits = (t->ops & OPS_VERSIONED) == 0;

		findings_add(
			f, INDEX, fits ? FINDING_OK : FINDING_PROBLEM,
			"set outbox.operation = 'create' (or preset = events), or name another index",
			fits ? "%s is a data stream"
			     : "%s is a data stream: it takes only the operation create, its other events wait",
			t->index);
	} else if (has_name(json_object_get(found, "aliases"), t->index, &it)) {
		check_alias(es, t->index);
	} else if (has_name(json_object_get(found, "indices"), t->index, &it) && is_closed(it)) {
		auto_free char *advice = http_path("POST /", t->index, "/_open");

		findings_add(f, INDEX, FINDING_PROBLEM, advice, "%s is closed: its events wait", t->index);
	} else {
		findings_add(f, INDEX, FINDING_OK, "", "%s exists", t->index);
	}
	check_concrete(es, t->index);
}

// "true", "false", or patterns, of which the first that matches decides: "+logs-*,-*".
static bool allows(const char *setting_text, const char *index)
{
	if (strcmp(setting_text, "true") == 0 || strcmp(setting_text, "false") == 0)
		return *setting_text == 't';
	for (const char *p = setting_text; *p;) {
		size_t n = strcspn(p, ",");
		size_t sign = *p == '+' || *p == '-';
		auto_free char *pattern = mem_strndup(p + sign, n - sign);

		if (fnmatch(pattern, index, 0) == 0)
			return *p != '-';
		p += n + (p[n] == ',');
	}
	return false;
}

static void check_missing(struct elastic *es, const struct target *t)
{
	const char *value = elastic_setting(es, "action.auto_create_index");
	bool may = !value || allows(value, t->index);

	findings_add(
		&elastic_checkup(es)->findings, INDEX, may ? FINDING_OK : FINDING_PROBLEM,
		"make the index, or allow it in action.auto_create_index",
		may ? "%s does not exist: the first event makes it"
		    : "%s does not exist and may not be made (action.auto_create_index): its events wait",
		t->index);
	check_template(es, t);
}

// Versions of documents above every id that was drawn: the table lost ids, and the next events look old.
static void check_documents(struct elastic *es, const struct target *t)
{
	int64_t drawn = elastic_checkup(es)->drawn, highest = 0;
	json_t *body = drawn > 0 && json_array_size(t->ids) > 0 ? json_pack("{s:O}", "ids", t->ids) : NULL;
	auto_free char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	auto_free char *path = http_path("/", t->index, "/_mget?_source=false");
	const json_t *doc;
	size_t i;

	json_decref(body);
	if (!text)
		return;

	auto_answer a = elastic_ask(es, "POST", path, text);

	if (a.status != 200) {
		elastic_not_seen(es, INDEX, "versions of documents", &a);
		return;
	}
	json_array_foreach(json_object_get(a.json, "docs"), i, doc)
	{
		int64_t version = json_integer_value(json_object_get(doc, "_version"));

		highest = version > highest ? version : highest;
	}
	findings_add(
		&elastic_checkup(es)->findings, INDEX, highest > drawn ? FINDING_PROBLEM : FINDING_OK,
		"the ids went back in a failover or restore: once the relay has tried these events, run `outboxd "
		"check --raise-sequence`",
		highest > drawn ? "%s holds version %lld, the table has drawn ids up to %lld"
				: "%s: highest version seen %lld, highest id drawn %lld",
		t->index, (long long)highest, (long long)drawn);
}

bool resolved(const json_t *answer)
{
	return json_array_size(json_object_get(answer, "indices")) +
		       json_array_size(json_object_get(answer, "aliases")) +
		       json_array_size(json_object_get(answer, "data_streams")) >
	       0;
}

void check_index(struct elastic *es, const struct target *t)
{
	auto_free char *path = http_path("/_resolve/index/", t->index, "");
	auto_answer a = elastic_ask(es, "GET", path, NULL);
	bool missing = a.status == 404 || (a.status == 200 && !resolved(a.json));

	if (missing) {
		check_missing(es, t);
	} else if (a.status == 200) {
		check_existing(es, t, a.json);
		check_documents(es, t);
	} else {
		elastic_not_seen(es, INDEX, t->index, &a);
	}
	if (elastic_is_secured(es))
		check_privileges(es, t, !missing);
}
