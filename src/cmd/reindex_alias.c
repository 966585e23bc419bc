// SPDX-License-Identifier: MIT
#include "cmd/reindex.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cmd/verify.h"
#include "es/http_sync.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPING_MAX ((size_t)16 * 1024 * 1024)
#define LEAST_MS 500 // for a request, however little time is left
#define PATH_MAX_BYTES ((size_t)4096)

struct place {
	char *name;
	json_t *indexes; // what GET /NAME says of each, by their own names
};

static int64_t left_ms(int64_t until_ms)
{
	int64_t left = until_ms - clock_boot_ms();

	return left > LEAST_MS ? left : LEAST_MS;
}

static bool ask(struct http_sync *http, const char *method, const char *path, const char *body,
		int64_t until_ms, const struct http_reply **ret, struct err *e)
{
	if (until_ms == 0)
		return verify_ask(http, method, path, body, ret, e);
	return verify_ask_within(http, method, path, body, left_ms(until_ms), ret, e);
}

static json_t *parse(const struct http_reply *reply)
{
	return json_loadb(reply->body, reply->len, JSON_ALLOW_NUL, NULL);
}

// Not acknowledged: some nodes have not heard of it, and do meanwhile as if nothing had been said. What waits its turn in the cluster
// is given up before we give it up, so that it is not done when nobody expects it any more.
static bool tell(struct http_sync *http, const char *method, const char *path, const char *body,
		 int64_t until_ms, struct err *e)
{
	const struct http_reply *reply;
	auto_buf whole = { 0 };
	json_t *answer;
	bool heard;

	buf_init(&whole, PATH_MAX_BYTES);
	buf_adds(&whole, path);
	if (until_ms != 0)
		buf_addf(&whole, "%cmaster_timeout=%" PRId64 "ms", strchr(path, '?') ? '&' : '?',
			 left_ms(until_ms) / 2);
	if (!ask(http, method, buf_str(&whole), body, until_ms, &reply, e))
		return false;
	answer = parse(reply);
	heard = json_is_true(json_object_get(answer, "acknowledged"));
	json_decref(answer);
	return heard ||
	       err_set(e, ERR_UNAVAILABLE, "%s %s: Elasticsearch did not acknowledge it on all nodes in time",
		       method, path);
}

// -- names

struct place *place_look(struct http_sync *http, const char *name, int64_t until_ms, struct err *e)
{
	auto_free char *path = http_path("/", name, "");
	const struct http_reply *reply;
	struct place *p;
	json_t *found;

	if (ask(http, "GET", path, NULL, until_ms, &reply, e)) {
		found = parse(reply);
	} else if (reply->fault == HTTP_FINE && reply->status == 404) {
		*e = (struct err){ 0 };
		found = json_object();
	} else {
		return NULL;
	}
	if (!json_is_object(found)) {
		json_decref(found);
		err_set(e, ERR_DATA, "GET %s: the answer is no JSON object", path);
		return NULL;
	}
	p = mem_calloc(1, sizeof(*p));
	*p = (struct place){ .name = mem_strdup(name), .indexes = found };
	return p;
}

void place_free(struct place *p)
{
	if (!p)
		return;
	json_decref(p->indexes);
	free(p->name);
	free(p);
}

int place_count(const struct place *p)
{
	return (int)json_object_size(p->indexes);
}

bool place_has(const struct place *p, const char *index)
{
	return json_object_get(p->indexes, index) != NULL;
}

bool place_is_only(const struct place *p, const char *index)
{
	return place_count(p) == 1 && place_has(p, index);
}

const char *place_uuid(const struct place *p, const char *index)
{
	const json_t *settings = json_object_get(json_object_get(p->indexes, index), "settings");
	const char *uuid = json_string_value(json_object_get(json_object_get(settings, "index"), "uuid"));

	return uuid ? uuid : "";
}

bool place_is_index(const struct place *p)
{
	return place_has(p, p->name);
}

const char *place_next(const struct place *p, const char *index)
{
	void *at = index ? json_object_iter_next(p->indexes, json_object_iter_at(p->indexes, index))
			 : json_object_iter(p->indexes);

	return at ? json_object_iter_key(at) : NULL;
}

static json_t *aliases_of(const struct place *p, const char *index)
{
	return json_object_get(json_object_get(p->indexes, index), "aliases");
}

static bool differs(const char *name, const char *other)
{
	return !other || strcmp(name, other) != 0;
}

const char *place_alias(const struct place *p, const char *index, const char *but, const char *nor)
{
	const char *alias;
	json_t *settings;

	json_object_foreach(aliases_of(p, index), alias, settings)
	{
		if (differs(alias, but) && differs(alias, nor))
			return alias;
	}
	return NULL;
}

static bool says(const json_t *mark, const char *name, const char *value)
{
	const char *text = json_string_value(json_object_get(mark, name));

	return text && strcmp(text, value) == 0;
}

static const json_t *mark_of(const json_t *index)
{
	const json_t *mappings = json_object_get(index, "mappings");

	return json_object_get(json_object_get(mappings, "_meta"), "outboxd");
}

bool place_is_marked(const struct place *p, const struct made_for *m)
{
	const json_t *mark = mark_of(json_object_get(p->indexes, p->name));

	return m ? says(mark, "reindex", m->table) && says(mark, "alias", m->alias) : mark != NULL;
}

bool place_is_made_of(const struct place *p, const char *body)
{
	json_t *root = json_loads(body, 0, NULL);
	const char *print = json_string_value(json_object_get(mark_of(root), "print"));
	bool is = print && says(mark_of(json_object_get(p->indexes, p->name)), "print", print);

	json_decref(root);
	return is;
}

bool place_may_be_left(const struct place *p, const char *replaced, struct err *e)
{
	const char *alias = p->name, *index = place_next(p, NULL), *other;
	const json_t *settings = json_object_get(aliases_of(p, index), alias);

	if (!index)
		return err_set(e, ERR_CONFIG,
			       "there is no alias %s: make an index of another name, and give it that alias",
			       alias);
	if (place_is_index(p))
		return err_set(
			e, ERR_CONFIG,
			"%s is an index itself, and only an alias can move: docs/REINDEXING.md says how it "
			"becomes one",
			alias);
	if (!settings)
		return err_set(e, ERR_CONFIG, "%s is no alias, and only an alias can move", alias);
	if (place_count(p) > 1)
		return err_set(e, ERR_CONFIG, "%s stands for %d indexes: only one can be replaced", alias,
			       place_count(p));
	if (json_object_get(settings, "index_routing") || json_object_get(settings, "search_routing"))
		return err_set(
			e, ERR_CONFIG,
			"the alias %s has a routing, so what is written by it is not where it is looked for "
			"without: that cannot be moved",
			alias);
	other = place_alias(p, index, alias, replaced);
	return !other ||
	       err_set(e, ERR_CONFIG,
		       "%s is known as %s as well, which would stay with it: move that first, or take it away",
		       index, other);
}

// -- indexes

static json_t *read_file(const char *file, struct err *e)
{
	auto_free char *text = mem_calloc(1, MAPPING_MAX + 1);
	json_error_t where;
	json_t *root;
	size_t len;

	if (!file_read(file, text, MAPPING_MAX, &len, e))
		return NULL;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!root)
		err_set(e, ERR_CONFIG, "%s:%d:%d: %s", file, where.line, where.column, where.text);
	return root;
}

// The object of that name, made when there is none; NULL = it is something else.
static json_t *object_in(json_t *parent, const char *name)
{
	json_t *child = json_object_get(parent, name);

	if (!child) {
		json_object_set_new(parent, name, json_object());
		child = json_object_get(parent, name);
	}
	return json_is_object(child) ? child : NULL;
}

// Of what the file says, however it is written (FNV-1a).
static uint64_t print_of(const json_t *root)
{
	auto_free char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	uint64_t hash = UINT64_C(14695981039346656037);

	for (const unsigned char *c = (const unsigned char *)text; *c; c++)
		hash = (hash ^ *c) * UINT64_C(1099511628211);
	return hash;
}

static bool add_mark(json_t *root, const char *file, const struct made_for *m, struct err *e)
{
	json_t *mappings, *meta;
	char print[17];

	snprintf(print, sizeof(print), "%016" PRIx64, print_of(root));
	if (!json_is_object(root))
		return err_set(e, ERR_CONFIG, "%s is no JSON object with settings and mappings", file);
	if (json_object_get(root, "aliases"))
		return err_set(
			e, ERR_CONFIG,
			"%s: leave `aliases` away: it would be searched before it is filled, and %s moves at the end",
			file, m->alias);
	mappings = object_in(root, "mappings");
	meta = mappings ? object_in(mappings, "_meta") : NULL;
	if (!meta)
		return err_set(e, ERR_CONFIG, "%s: %s is no JSON object", file,
			       mappings ? "mappings._meta" : "mappings");
	json_object_set_new(
		meta, "outboxd",
		json_pack("{s:s, s:s, s:s}", "reindex", m->table, "alias", m->alias, "print", print));
	return true;
}

char *index_body(const char *file, const struct made_for *m, struct err *e)
{
	json_t *root = file ? read_file(file, e) : json_object();
	char *text = NULL;

	if (root && add_mark(root, file ? file : "", m, e))
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

// An answer that was lost is no failure, nor is a second try that meets the first one. What another run made of another file is.
bool index_make(struct http_sync *http, const char *name, const char *body, const struct made_for *m,
		struct err *e)
{
	auto_free char *path = http_path("/", name, "");
	struct err why = { 0 };
	struct place *p;
	bool made;

	if (tell(http, "PUT", path, body, 0, e))
		return true;
	p = place_look(http, name, 0, &why);
	made = p && place_is_marked(p, m) && place_is_made_of(p, body);
	place_free(p);
	if (made)
		*e = (struct err){ 0 };
	return made || err_prefix(e, "making the index %s", name);
}

bool index_delete(struct http_sync *http, const char *name, int64_t until_ms, struct err *e)
{
	auto_free char *path = http_path("/", name, "?ignore_unavailable=true");

	return tell(http, "DELETE", path, NULL, until_ms, e) || err_prefix(e, "deleting the index %s", name);
}

bool index_refresh(struct http_sync *http, const char *name, int64_t until_ms, struct err *e)
{
	auto_free char *path = http_path("/", name, "/_refresh");
	const struct http_reply *reply;

	return ask(http, "POST", path, NULL, until_ms, &reply, e) || err_prefix(e, "refreshing %s", name);
}

bool index_count(struct http_sync *http, const char *name, int64_t *ret, struct err *e)
{
	auto_free char *path = http_path("/", name, "/_count");
	const struct http_reply *reply;
	json_t *answer, *count;
	bool ok;

	if (!index_refresh(http, name, 0, e) || !ask(http, "GET", path, NULL, 0, &reply, e))
		return false;
	answer = parse(reply);
	count = json_object_get(answer, "count");
	ok = json_is_integer(count) || err_set(e, ERR_DATA, "GET %s: the answer has no count", path);
	if (ok)
		*ret = json_integer_value(count);
	json_decref(answer);
	return ok;
}

// -- the step

static void add_action(json_t *actions, const char *what, const char *index, const char *alias,
		       json_t *settings)
{
	json_t *action = json_pack("{s:s, s:s}", "index", index, "alias", alias);

	json_object_update_missing(action, settings); // filter, is_write_index and the like
	json_array_append_new(actions, json_pack("{s:o}", what, action));
}

bool alias_move(struct http_sync *http, const struct place *from, const char *to, const char *kept,
		int64_t until_ms, struct err *e)
{
	json_t *actions = json_array(), *body = json_pack("{s:o}", "actions", actions);
	const char *index = place_next(from, NULL), *alias = from->name;
	char *text;
	bool moved;

	add_action(actions, "remove", index, alias, NULL);
	add_action(actions, "add", index, kept, NULL);
	add_action(actions, "add", to, alias, json_object_get(aliases_of(from, index), alias));
	text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	moved = tell(http, "POST", "/_aliases", text, until_ms, e);
	free(text);
	return moved || err_prefix(e, "moving the alias %s", alias);
}
