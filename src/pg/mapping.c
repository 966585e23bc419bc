// SPDX-License-Identifier: MIT
#include "pg/mapping.h"

#include "base/buf.h"
#include "base/mem.h"
#include "pg/sql.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define SQL_MAX (1024 * 1024)
#define NAME_MAX_BYTES 63 // PostgreSQL cuts identifiers there

// The fields of a preset, and what is derived from another field when nobody says anything (NULL).
struct preset {
	const char *id, *key, *index, *document_id, *operation, *version, *routing, *pipeline, *document;
	const char *event; // its name, where one called delete_by_query is one, if any index takes such
};

static const struct preset presets[] = {
	[PRESET_DOCUMENT] = {
		.id = "o.id", .index = "o.aggregate_type", .document_id = "o.aggregate_id",
		.operation = "CASE WHEN o.data IS NULL THEN 'delete' ELSE 'index' END", .document = "o.data",
		.event = "o.event",
	},
	[PRESET_EVENTS] = {
		.id = "o.id", .index = "o.aggregate_type", .document_id = "o.id",
		.operation = "'create'", .version = "NULL", .document = "o.data",
	},
	[PRESET_DEBEZIUM] = {
		.id = "o.seq", .index = "lower(o.aggregatetype)", .document_id = "o.aggregateid",
		.operation = "CASE WHEN o.payload IS NULL THEN 'delete' ELSE 'index' END", .document = "o.payload",
		.event = "o.type",
	},
};

// $$...$$ or $tag$...$tag$
static size_t dollar_quoted(const char *s)
{
	size_t tag = 1;
	const char *end;

	while (isalnum((unsigned char)s[tag]) || s[tag] == '_' || (unsigned char)s[tag] >= 0x80)
		tag++;
	if (s[tag++] != '$')
		return 1;
	end = memmem(s + tag, strlen(s + tag), s, tag);
	return end ? (size_t)(end - s) + tag : strlen(s);
}

// In PostgreSQL comments nest.
static size_t comment(const char *s)
{
	size_t n = 2;

	for (int depth = 1; s[n] && depth > 0;) {
		bool opens = s[n] == '/' && s[n + 1] == '*';
		bool closes = s[n] == '*' && s[n + 1] == '/';

		depth += opens - closes;
		n += opens || closes ? 2 : 1;
	}
	return n;
}

// A reader of SQL text that knows strings, quoted names, dollar quotes and comments. Returns the length of the token
// at s (1 for anything that is not such a run) and whether it is a plain word.
static size_t token(const char *s, bool *ret_word)
{
	size_t n = 0;

	*ret_word = false;
	if ((*s == 'e' || *s == 'E') && s[1] == '\'') {
		for (n = 2; s[n] && (s[n] != '\'' || s[n + 1] == '\''); n++)
			n += (s[n] == '\\' || s[n] == '\'') && s[n + 1];
		return s[n] ? n + 1 : n;
	}
	if (*s == '$')
		return dollar_quoted(s);
	if (isalpha((unsigned char)*s) || *s == '_' || (unsigned char)*s >= 0x80) {
		while (isalnum((unsigned char)s[n]) || s[n] == '_' || s[n] == '$' ||
		       (unsigned char)s[n] >= 0x80)
			n++;
		*ret_word = true;
		return n;
	}
	if (*s == '\'' || *s == '"') {
		for (n = 1; s[n] && s[n] != *s; n++)
			;
		return s[n] ? n + 1 : n;
	}
	if (s[0] == '-' && s[1] == '-')
		return strcspn(s, "\n");
	if (s[0] == '/' && s[1] == '*')
		return comment(s);
	return 1;
}

// An index expression may not name the table's alias: o.data->>'id' becomes data->>'id'.
static char *without_alias(const char *expression)
{
	struct buf out;
	char before = ' ';

	buf_init(&out, SQL_MAX);
	for (const char *s = expression; *s;) {
		bool word;
		size_t n = token(s, &word);

		if (word && n == 1 && (*s == 'o' || *s == 'O') && s[1] == '.' && before != '.') {
			s += 2;
			before = ' ';
			continue;
		}
		buf_add(&out, s, n);
		before = s[n - 1];
		s += n;
	}
	return buf_take(&out);
}

static void add_quoted(struct buf *b, char quote, const char *text)
{
	buf_addc(b, quote);
	for (; *text; text++) {
		if (*text == quote)
			buf_addc(b, quote);
		buf_addc(b, *text);
	}
	buf_addc(b, quote);
}

static char *literal(const char *text)
{
	struct buf b;

	buf_init(&b, SQL_MAX);
	if (strchr(text, '\\'))
		buf_addc(&b, 'E'); // standard_conforming_strings may be off
	buf_addc(&b, '\'');
	for (const char *p = text; *p; p++) {
		if (*p == '\'' || *p == '\\')
			buf_addc(&b, *p);
		buf_addc(&b, *p);
	}
	buf_addc(&b, '\'');
	return buf_take(&b);
}

static char *print(const char *fmt, const char *a)
{
	struct buf b;

	buf_init(&b, SQL_MAX);
	for (const char *p = fmt; *p; p++) {
		if (*p == '?')
			buf_adds(&b, a);
		else
			buf_addc(&b, *p);
	}
	return buf_take(&b);
}

// One part of a table name, as SQL reads it: a word is folded to lower case, "Quoted" stays.
static bool read_identifier(const char **s, struct buf *out)
{
	const char *p = *s;

	if (*p == '"') {
		for (p++; *p && !(p[0] == '"' && p[1] != '"'); p++) {
			if (p[0] == '"')
				p++;
			buf_addc(out, *p);
		}
		if (*p != '"' || out->len == 0)
			return false;
		*s = p + 1;
		return true;
	}
	if (!isalpha((unsigned char)*p) && *p != '_')
		return false;
	for (; isalnum((unsigned char)*p) || *p == '_' || *p == '$'; p++)
		buf_addc(out, (char)tolower((unsigned char)*p));
	*s = p;
	return true;
}

static bool read_table(const char *text, struct buf *schema, struct buf *name, struct err *e)
{
	const char *s = text;
	bool ok = read_identifier(&s, name);

	if (ok && *s == '.') {
		buf_adds(schema, buf_str(name));
		buf_clear(name);
		s++;
		ok = read_identifier(&s, name);
	}
	if (ok && *s == '\0' && name->len <= NAME_MAX_BYTES && schema->len <= NAME_MAX_BYTES)
		return true;
	return err_set(e, ERR_CONFIG,
		       "outbox.table: \"%s\" is not the name of a table; write table, schema.table or "
		       "\"Quoted\".\"Names\", each at most 63 bytes",
		       text);
}

#define FNV_START 2166136261u

static uint32_t hash_text(const char *text, uint32_t h)
{
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u; // FNV-1a
	return h;
}

// At most so many bytes of the name, without cutting a character in two.
static int clipped(const struct buf *name, size_t max)
{
	size_t n = name->len < max ? name->len : max;

	while (n > 0 && n < name->len && ((unsigned char)name->data[n] & 0xC0) == 0x80)
		n--;
	return (int)n;
}

// prefix + name + suffix as one identifier. A name that does not fit is cut and told apart by its hash.
static void fit_name(const char *prefix, const struct buf *name, const char *suffix,
		     char out[NAME_MAX_BYTES + 1])
{
	size_t room = NAME_MAX_BYTES - strlen(prefix) - strlen(suffix);
	char hash[16] = "";

	if (name->len > room) {
		snprintf(hash, sizeof(hash), "_%08x", hash_text(buf_str(name), FNV_START));
		room -= strlen(hash);
	}
	snprintf(out, NAME_MAX_BYTES + 1, "%s%.*s%s%s", prefix, clipped(name, room), buf_str(name), hash,
		 suffix);
}

// "schema"."name" with a suffix to the name.
static char *qualified(const struct buf *schema, const struct buf *name, const char *suffix)
{
	char full[NAME_MAX_BYTES + 1];
	struct buf b;

	buf_init(&b, 1024);
	if (schema->len) {
		add_quoted(&b, '"', buf_str(schema));
		buf_addc(&b, '.');
	}
	fit_name("", name, suffix, full);
	add_quoted(&b, '"', full);
	return buf_take(&b);
}

static char *qualified_journal(const struct buf *schema)
{
	struct buf name;
	char *out;

	buf_init(&name, 64);
	buf_adds(&name, "outboxd_migrations");
	out = qualified(schema, &name, "");
	buf_done(&name);
	return out;
}

static bool set_names(struct mapping *m, const char *table, struct err *e)
{
	auto_buf schema = { 0 }, name = { 0 }, listen = { 0 };
	const struct buf none = { 0 };
	char suffix[32], channel[NAME_MAX_BYTES + 1];

	buf_init(&schema, 256);
	buf_init(&name, 256);
	buf_init(&listen, 256);
	if (!read_table(table, &schema, &name, e))
		return false;
	// The index is named after what it indexes: with another key, `init` makes another one.
	snprintf(suffix, sizeof(suffix), "_lane_%08x",
		 hash_text(m->id_column, hash_text(m->key_column, FNV_START)));
	m->table = qualified(&schema, &name, "");
	m->lane_index = qualified(&schema, &name, suffix);
	m->lane_index_name = qualified(&none, &name, suffix);
	m->parked_index = qualified(&none, &name, "_parked");
	m->parked_qualified = qualified(&schema, &name, "_parked");
	m->seq_index = qualified(&none, &name, "_seq");
	m->journal = qualified_journal(&schema);
	m->publish = qualified(&schema, &name, "_publish");
	m->notify = qualified(&schema, &name, "_notify");
	m->rotate = qualified(&schema, &name, "_rotate");
	fit_name("outboxd_", &name, "", channel);
	m->channel = mem_strdup(channel);
	buf_adds(&listen, "LISTEN ");
	add_quoted(&listen, '"', channel);
	m->listen = buf_take(&listen);
	m->channel_literal = literal(m->channel);
	m->table_literal = literal(m->table);
	m->id_column_literal = literal(m->id_column);
	m->lane_index_literal = literal(m->lane_index);

	auto_free char *rotate = print("?(bigint, bigint)", m->rotate);

	m->rotate_literal = literal(rotate);
	return true;
}

static char *choose(const char *configured, const char *preset, const char *otherwise)
{
	return mem_strdup(*configured ? configured : preset ? preset : otherwise);
}

static void add_queries(struct mapping *m, const char *event)
{
	struct buf b;

	buf_init(&b, SQL_MAX);
	buf_addf(&b, "CASE WHEN %s = 'delete_by_query' THEN 'delete_by_query' ELSE %s END", event,
		 m->operation);
	free(m->operation);
	m->operation = buf_take(&b);
}

bool mapping_init(struct mapping *m, const struct config *c, struct err *e)
{
	const struct preset *p = &presets[c->outbox_preset];
	char **empty[] = { &m->bound_below, &m->purge_below, &m->partition_by, &m->unmoved };

	memset(m, 0, sizeof(*m));
	m->id = choose(c->outbox_id, p->id, "o.id");
	m->index = choose(c->outbox_index, p->index, "o.aggregate_type");
	m->document_id = choose(c->outbox_document_id, p->document_id, "o.aggregate_id");
	m->key = choose(c->outbox_key, p->key, m->document_id);
	m->operation = choose(c->outbox_operation, p->operation, "'index'");
	if (p->event && !*c->outbox_operation && *c->outbox_delete_by_query)
		add_queries(m, p->event);
	m->version = choose(c->outbox_version, p->version, m->id);
	m->routing = choose(c->outbox_routing, p->routing, "NULL");
	m->pipeline = choose(c->outbox_pipeline, p->pipeline, "NULL");
	m->trace = choose(c->outbox_trace, NULL, "NULL");
	m->refresh = choose(c->outbox_refresh, NULL, "NULL");
	m->document = choose(c->outbox_document, p->document, "o.data");
	m->version_is_id = strcmp(m->version, m->id) == 0;
	m->keyed_by_seq = c->outbox_preset == PRESET_DEBEZIUM && !*c->outbox_id;
	m->id_column = without_alias(m->id);
	m->key_column = without_alias(m->key);
	m->lane = print("(hashtext(coalesce((?)::text, '')) & 15)", m->key);
	if (!set_names(m, c->outbox_table, e)) {
		mapping_done(m);
		return false;
	}
	m->dead_selected = mapping_expand(m, sql_query_dead_selected, NULL);
	m->tracks = mapping_expand(m, sql_query_tracks, NULL);
	m->shape = mapping_expand(m, sql_query_shape, NULL);
	m->partitions = mapping_expand(m, sql_query_partitions, NULL);
	m->row = mem_strdup("ctid");
	m->row_type = mem_strdup("tid");
	for (size_t i = 0; i < array_len(empty); i++)
		*empty[i] = mem_strdup("");
	m->only = mem_strdup("ONLY ");
	m->lane_class = print("hashtext('outboxd lane ' || ?::regclass::oid)", m->table_literal);
	return true;
}

static void replace(char **at, char *value)
{
	free(*at);
	*at = value;
}

void mapping_partition(struct mapping *m)
{
	replace(&m->row, mem_strdup(m->id_column));
	replace(&m->row_type, mem_strdup("bigint"));
	replace(&m->bound_below, mapping_expand(m, sql_query_bound_below, NULL));
	replace(&m->purge_below, mapping_expand(m, sql_query_purge_below, NULL));
	replace(&m->partition_by, mapping_expand(m, sql_query_partition_by, NULL));
	replace(&m->unmoved, mapping_expand(m, sql_query_unmoved, NULL));
	replace(&m->only, mem_strdup(""));
}

const struct mapping_field mapping_fields[] = {
	{ "id", offsetof(struct mapping, id), true },
	{ "index", offsetof(struct mapping, index), false },
	{ "document_id", offsetof(struct mapping, document_id), false },
	{ "operation", offsetof(struct mapping, operation), false },
	{ "version", offsetof(struct mapping, version), true },
	{ "routing", offsetof(struct mapping, routing), false },
	{ "pipeline", offsetof(struct mapping, pipeline), false },
	{ "trace", offsetof(struct mapping, trace), false },
	{ "refresh", offsetof(struct mapping, refresh), false },
	{ "document", offsetof(struct mapping, document), false },
	{ "key", offsetof(struct mapping, key), false },
	{ NULL, 0, false },
};

const char *mapping_expression(const struct mapping *m, const struct mapping_field *f)
{
	return *(char *const *)(const void *)((const char *)m + f->at);
}
