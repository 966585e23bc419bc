// SPDX-License-Identifier: MIT
// The lines of a row that passed row_check: jansson reads the action line back as the same row, and there are
// exactly as many lines as there must be, whatever the row holds.
// Fields: switches ('t' tombstone, 'v' without version), version, index, id, routing, pipeline, operation, document
// (which may hold 0x1F). A field "\N" is NULL.
#include "base/parse.h"
#include "es/bulk.h"
#include "fuzz.h"

#include <jansson.h>

enum { MARK = 7 };

static void check_text(const json_t *line, const char *key, struct slice expected, bool wanted)
{
	const json_t *value = json_object_get(line, key);

	check(json_is_string(value) == wanted && (value != NULL) == wanted);
	check(!wanted || (json_string_length(value) == expected.n &&
			  memcmp(json_string_value(value), expected.p, expected.n) == 0));
}

static void check_action(const char *text, size_t len, const struct row *row, enum op op, bool tombstone)
{
	json_t *root = json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	bool whole = (tombstone && op == OP_DELETE) || op == OP_UPDATE;
	const json_t *line = json_object_get(root, whole ? "index" : op_name(op));
	bool routed = row->routing.n > 0;
	bool piped = op != OP_DELETE && row->pipeline.n > 0;

	check(json_object_size(root) == 1 && json_is_object(line));
	check_text(line, "_index", row->index, true);
	check_text(line, "_id", row->document_id, true);
	check_text(line, "routing", row->routing, routed);
	check_text(line, "pipeline", row->pipeline, piped);
	check_text(line, "version_type", (struct slice){ "external_gte", 12 }, op != OP_CREATE);
	check(json_is_integer(json_object_get(line, "version")) == (op != OP_CREATE));
	check(op == OP_CREATE || json_integer_value(json_object_get(line, "version")) == row->version);
	check(json_object_size(line) == 2u + routed + piped + (op == OP_CREATE ? 0 : 2));
	json_decref(root);
}

static void check_document(const char *text, size_t len, struct slice document)
{
	check(len == document.n);
	for (size_t i = 0; i < len; i++)
		check(text[i] == (document.p[i] == '\n' ? ' ' : document.p[i]));
}

static void check_lines(const char *text, size_t len, const struct row *row, enum op op, bool tombstone)
{
	struct slice deleted = { "{\"deleted\":true}", 16 };
	const char *first = memchr(text, '\n', len);
	const char *end = text + len;

	check(first != NULL);
	check_action(text, (size_t)(first - text), row, op, tombstone);
	if (op == OP_DELETE && !tombstone) {
		check(first + 1 == end);
		return;
	}
	check(memchr(first + 1, '\n', (size_t)(end - first - 1)) == end - 1);
	check_document(first + 1, (size_t)(end - first - 2), op == OP_DELETE ? deleted : row->document);
}

// Alone, twice in a body, and in bodies that are too small by any number of bytes.
static void check_bodies(const struct row *row, enum op op, bool tombstone)
{
	auto_buf body;
	size_t len;

	buf_init(&body, 1 << 20);
	buf_add(&body, "marked\n", MARK);
	check(bulk_append(&body, row, op, tombstone));
	len = body.len - MARK;
	check(bulk_append(&body, row, op, tombstone) && body.len == MARK + 2 * len);
	check(memcmp(body.data + MARK, body.data + MARK + len, len) == 0 && body.data[body.len] == '\0');
	check_lines(body.data + MARK, len, row, op, tombstone);
	for (size_t lacking = 1; lacking <= len; lacking += lacking) {
		buf_done(&body);
		buf_init(&body, MARK + len - lacking);
		buf_add(&body, "marked\n", MARK);
		check(!bulk_append(&body, row, op, tombstone));
		check(body.len == MARK && memcmp(buf_str(&body), "marked\n", MARK + 1) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed feed = { data, size };
	struct row row = { .has_version = true };
	struct slice *const slices[] = { &row.index,    &row.document_id, &row.routing,
					 &row.pipeline, &row.operation,   &row.document };
	char *texts[6];
	size_t len;
	char *switches = feed_field(&feed, &len);
	char *version = feed_field(&feed, &len);
	struct refusal refusal = { .type = NULL };
	enum op op = OP_INDEX;

	row.has_version = !strchr(switches, 'v') && parse_int(version, &row.version, NULL);
	for (size_t i = 0; i < 6; i++) {
		texts[i] = i < 5 ? feed_field(&feed, &len) : feed_rest(&feed, &len);
		if (strcmp(texts[i], "\\N") != 0)
			*slices[i] = (struct slice){ texts[i], len };
	}
	if (row_check(&row, &op, &refusal))
		check_bodies(&row, op, strchr(switches, 't') != NULL);
	else
		check(refusal.type &&
		      memchr(refusal.reason, '\0', sizeof(refusal.reason)) > (void *)refusal.reason);
	for (size_t i = 0; i < 6; i++)
		free(texts[i]);
	free(switches);
	free(version);
	return 0;
}
