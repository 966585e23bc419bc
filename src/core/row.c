// SPDX-License-Identifier: MIT
#include "core/row.h"

#include "base/attr.h"
#include "base/parse.h"
#include "core/json_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { INDEX_BYTES_MAX = 255, ID_BYTES_MAX = 512 };

const char *op_name(enum op op)
{
	switch (op) {
	case OP_INDEX:
		return "index";
	case OP_CREATE:
		return "create";
	case OP_DELETE:
		return "delete";
	case OP_UPDATE:
		return "update";
	}
	return "?";
}

// The names are Elasticsearch's own, so a dead letter reads the same whoever refused the row.
static const char bad_index[] = "invalid_index_name_exception";
static const char bad_action[] = "action_request_validation_exception";
static const char bad_document[] = "document_parsing_exception";

printf_like(3, 4) static bool refuse(struct refusal *ret, const char *type, const char *fmt, ...)
{
	va_list args;

	ret->type = type;
	va_start(args, fmt);
	(void)vsnprintf(ret->reason, sizeof(ret->reason), fmt, args);
	va_end(args);
	return false;
}

// The number of bytes of the UTF-8 sequence at p, 0 when it is not one: no surrogates, nothing overlong,
// nothing above U+10FFFF (RFC 3629).
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80;
	unsigned char high = 0xBF;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xC2 || p[0] > 0xF4)
		return 0;
	n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
	if (n > left)
		return 0;
	if (p[0] == 0xE0)
		low = 0xA0;
	else if (p[0] == 0xED)
		high = 0x9F;
	else if (p[0] == 0xF0)
		low = 0x90;
	else if (p[0] == 0xF4)
		high = 0x8F;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	}
	return n;
}

static bool is_utf8(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n;

	for (size_t i = 0; i < s.n; i += n) {
		n = utf8_sequence(p + i, s.n - i);
		if (n == 0)
			return false;
	}
	return true;
}

static bool is_empty(struct slice s)
{
	return !s.p || s.n == 0;
}

static bool equals(struct slice s, const char *text)
{
	return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

// Upper case is refused although an alias may have it: in an index name it never works, and as long as the
// index is missing the server's answer would hold back the whole index instead of naming the mistake.
// '<' is how date math starts: the name would mean another index tomorrow.
static bool check_index(struct slice s, struct refusal *ret)
{
	static const char forbidden[] = "\\/*?\"<>|,#: ";

	if (is_empty(s))
		return refuse(ret, bad_index, "the index name is %s", s.p ? "empty" : "NULL");
	if (s.n > INDEX_BYTES_MAX)
		return refuse(ret, bad_index, "the index name has %zu bytes, %d are allowed", s.n,
			      INDEX_BYTES_MAX);
	if (!is_utf8(s))
		return refuse(ret, bad_index, "the index name is not valid UTF-8");
	if (strchr("-_+", s.p[0]) && s.p[0])
		return refuse(ret, bad_index, "the index name must not start with '%c'", s.p[0]);
	if (equals(s, ".") || equals(s, ".."))
		return refuse(ret, bad_index, "the index name must not be '.' or '..'");
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 'A' && c <= 'Z')
			return refuse(ret, bad_index, "the index name must be lower case, it has '%c'", c);
		if (c < 0x20 || c == 0x7F)
			return refuse(ret, bad_index, "the index name has a control character (0x%02x)", c);
		if (strchr(forbidden, c))
			return refuse(ret, bad_index, "the index name must not have the character '%c'", c);
	}
	return true;
}

static bool check_id(struct slice s, struct refusal *ret)
{
	if (is_empty(s))
		return refuse(ret, bad_action, "the document id is %s", s.p ? "empty" : "NULL");
	if (s.n > ID_BYTES_MAX)
		return refuse(ret, bad_action, "the document id has %zu bytes, %d are allowed", s.n,
			      ID_BYTES_MAX);
	if (!is_utf8(s))
		return refuse(ret, bad_action, "the document id is not valid UTF-8");
	return true;
}

static bool read_op(const struct row *row, enum op *ret_op, struct refusal *ret)
{
	static const enum op ops[] = { OP_INDEX, OP_CREATE, OP_DELETE, OP_UPDATE };

	if (!row->operation.p) {
		*ret_op = row->document.p ? OP_INDEX : OP_DELETE;
		return true;
	}
	for (size_t i = 0; i < array_len(ops); i++) {
		if (equals(row->operation, op_name(ops[i]))) {
			*ret_op = ops[i] == OP_INDEX && !row->document.p ? OP_DELETE : ops[i];
			return true;
		}
	}
	return refuse(ret, bad_action,
		      "the operation is none of index, create, update, delete, delete_by_query");
}

// What follows the first brace of a whole document is the server's to judge: it would fail this row only. A part must be understood
// here, or nothing could be merged.
static bool check_document(struct slice s, enum op op, struct refusal *ret)
{
	size_t i = 0;

	if (!s.p)
		return refuse(ret, bad_document, "%s needs a document, it is NULL", op_name(op));
	while (i < s.n && s.p[i] && strchr(" \t\r\n", s.p[i]))
		i++;
	if (i == s.n)
		return refuse(ret, bad_document, "the document is empty");
	if (s.p[i] != '{')
		return refuse(ret, bad_document, "the document is not a JSON object");
	if (op == OP_UPDATE && !json_is_text_of_object(s, JSON_DOCUMENT_DEPTH))
		return refuse(ret, bad_document, "the part that is to be merged is not valid JSON");
	return true;
}

static bool check_version(const struct row *row, enum op op, struct refusal *ret)
{
	if (op == OP_CREATE)
		return true; // the server refuses create with a version of ours
	if (!row->has_version)
		return refuse(ret, bad_action, "%s needs a version, it is NULL", op_name(op));
	if (row->version < 0)
		return refuse(ret, bad_action, "the version is negative (%lld)", (long long)row->version);
	return true;
}

bool row_is_query(const struct row *row)
{
	return equals(row->operation, "delete_by_query");
}

bool row_takes_queries(struct slice index, const char *allowed)
{
	return list_has(allowed, index.p, index.n);
}

static bool read_query(struct slice document, struct slice *ret, struct refusal *ret_refusal)
{
	struct json_member first = { 0 }, second;
	struct json_walk w;

	if (document.p && json_is_text_of_object(document, JSON_DOCUMENT_DEPTH)) {
		w = json_walk(document);
		if (json_next(&w, &first) && equals(first.key, "query") && *first.value.p == '{' &&
		    !json_next(&w, &second)) {
			*ret = first.value;
			return true;
		}
	}
	return refuse(ret_refusal, "delete_by_query_invalid",
		      "the document is not {\"query\": {...}}, with that one key");
}

bool row_check_query(const struct row *row, const char *allowed, struct slice *ret_query,
		     struct refusal *ret_refusal)
{
	if (!check_index(row->index, ret_refusal))
		return false;
	if (!row_takes_queries(row->index, allowed))
		return refuse(
			ret_refusal, "delete_by_query_not_allowed",
			"the index is not in outbox.delete_by_query: add it there, then requeue this event");
	return check_version(row, OP_DELETE, ret_refusal) &&
	       (!ret_query || read_query(row->document, ret_query, ret_refusal));
}

bool row_check_whole(const struct row *row, enum op op, const char *allowed, struct refusal *ret_refusal)
{
	if (op == OP_INDEX || op == OP_DELETE || !row_takes_queries(row->index, allowed))
		return true;
	return refuse(
		ret_refusal, "whole_documents_only",
		"the index is in outbox.delete_by_query, so it takes whole documents: index and delete, no %s",
		op_name(op));
}

const char *refresh_name(enum refresh r)
{
	static const char *const names[] = {
		[REFRESH_NO] = "false", [REFRESH_WAIT] = "wait_for", [REFRESH_NOW] = "true"
	};

	return names[r];
}

static bool read_refresh(struct slice s, enum refresh *ret)
{
	*ret = REFRESH_NO;
	if (is_empty(s))
		return true;
	for (enum refresh r = REFRESH_NO; r <= REFRESH_NOW; r++) {
		if (equals(s, refresh_name(r))) {
			*ret = r;
			return true;
		}
	}
	return false;
}

enum refresh row_refresh(const struct row *row)
{
	enum refresh refresh;

	(void)read_refresh(row->refresh, &refresh);
	return refresh;
}

bool row_check(const struct row *row, enum op *ret_op, struct refusal *ret_refusal)
{
	enum op op = OP_INDEX;
	enum refresh refresh;

	if (!read_op(row, &op, ret_refusal) || !check_index(row->index, ret_refusal) ||
	    !check_id(row->document_id, ret_refusal) || !check_version(row, op, ret_refusal))
		return false;
	if (!is_utf8(row->routing))
		return refuse(ret_refusal, bad_action, "the routing is not valid UTF-8");
	if (!is_utf8(row->pipeline))
		return refuse(ret_refusal, bad_action, "the pipeline is not valid UTF-8");
	if (op != OP_DELETE && !check_document(row->document, op, ret_refusal))
		return false;
	if (!read_refresh(row->refresh, &refresh))
		return refuse(ret_refusal, bad_action, "the refresh is none of wait_for, true, false, NULL");
	*ret_op = op;
	return true;
}
