// SPDX-License-Identifier: MIT
#include "es/mget.h"

#include "core/json_text.h"

static bool read_doc(struct slice doc, struct mget_doc *ret)
{
	struct slice found = json_get(doc, "found"), error = json_get(doc, "error"), type;

	*ret = (struct mget_doc){ .found = json_is(found, "true"), .type = "", .reason = "" };
	if (error.p) {
		type = json_get(error, "type");
		if (!type.p || *type.p != '"')
			return false;
		json_read_string(type, ret->type, sizeof(ret->type));
		json_read_string(json_get(error, "reason"), ret->reason, sizeof(ret->reason));
		return *ret->type != '\0';
	}
	if (ret->found)
		ret->source = json_get(doc, "_source");
	return (ret->found || json_is(found, "false")) && (!ret->source.p || *ret->source.p == '{');
}

static size_t count(struct slice docs)
{
	struct json_walk w = json_walk(docs);
	struct json_member element;
	struct mget_doc doc;
	size_t n = 0;

	while (json_next(&w, &element)) {
		if (!read_doc(element.value, &doc))
			return SIZE_MAX;
		n++;
	}
	return n;
}

bool mget_read(const char *body, size_t len, size_t expected, mget_callback *cb, void *arg, struct err *e)
{
	const struct slice text = { body, len };
	struct slice docs = { NULL, 0 };
	struct json_walk w;
	struct json_member element;
	struct mget_doc doc;

	if (len > 0 && json_is_text_of_object(text, JSON_ANSWER_DEPTH))
		docs = json_get(text, "docs");
	if (!docs.p || *docs.p != '[')
		return err_set(e, ERR_DATA, "the answer to _mget has no documents");
	if (count(docs) != expected)
		return err_set(
			e, ERR_DATA,
			"the answer to _mget has another number of documents than were asked for, or one of them cannot be read");
	w = json_walk(docs);
	while (json_next(&w, &element)) {
		if (read_doc(element.value, &doc))
			cb(arg, &doc);
	}
	return true;
}
