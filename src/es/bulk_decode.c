// SPDX-License-Identifier: MIT
#include "es/bulk.h"

#include "base/mem.h"
#include "es/bulk_scan.h"

#include <jansson.h>
#include <string.h>

static void json_done_at(json_t **json)
{
	json_decref(*json);
}
#define auto_json __attribute__((cleanup(json_done_at))) json_t

static const char *text_of(const json_t *json)
{
	const char *text = json_string_value(json);

	return text ? text : "";
}

// {"index":{"status":400,"error":{"type":"...","reason":"..."}}}: one member, whatever its name.
static bool read_item(json_t *item, struct bulk_item *ret)
{
	json_t *result;
	json_t *status;
	json_t *error;

	if (json_object_size(item) != 1) // 0 also for what is no object
		return false;
	result = json_object_iter_value(json_object_iter(item));
	status = json_object_get(result, "status");
	if (!json_is_integer(status) || json_integer_value(status) < 0 || json_integer_value(status) > 999)
		return false;
	error = json_object_get(result, "error");
	*ret = (struct bulk_item){
		.status = (int)json_integer_value(status),
		.type = text_of(json_object_get(error, "type")),
		.reason = text_of(json_is_string(error) ? error : json_object_get(error, "reason")),
		.index = text_of(json_object_get(result, "_index")),
	};
	return true;
}

// Every failure here is the server's (or a proxy's) and may be gone at the next try.
static bool check_answer(const json_t *root, size_t expected, struct err *e)
{
	const json_t *items = json_object_get(root, "items");
	struct bulk_item item;
	json_t *value;
	size_t i;

	if (!json_is_boolean(json_object_get(root, "errors")))
		return err_set(e, ERR_UNAVAILABLE, "the answer is not one of _bulk: no \"errors\"");
	if (!json_is_array(items))
		return err_set(e, ERR_UNAVAILABLE, "the answer is not one of _bulk: no \"items\"");
	if (json_array_size(items) != expected)
		return err_set(e, ERR_UNAVAILABLE, "the answer has %zu items, %zu were sent",
			       json_array_size(items), expected);
	json_array_foreach(items, i, value)
	{
		if (!read_item(value, &item))
			return err_set(e, ERR_UNAVAILABLE, "item %zu of the answer has no status", i);
	}
	return true;
}

bool bulk_decode_whole(const char *body, size_t len, size_t expected, bulk_item_callback *cb, void *arg,
		       struct err *e)
{
	json_error_t where;
	auto_json *root = json_loadb(body, len, JSON_ALLOW_NUL, &where);
	struct bulk_item item;
	json_t *value;
	size_t i;

	// jansson's own text quotes the answer, so only the place is told.
	if (!root)
		return err_set(e, ERR_UNAVAILABLE, "the answer is not JSON (at byte %d of %zu)",
			       where.position, len);
	if (!check_answer(root, expected, e))
		return false;
	json_array_foreach(json_object_get(root, "items"), i, value)
	{
		if (read_item(value, &item))
			cb(arg, i, &item);
	}
	return true;
}

bool bulk_decode(const char *body, size_t len, size_t expected, bulk_item_callback *cb, void *arg,
		 struct err *e)
{
	struct bulk_item item = { .type = "", .reason = "", .index = "" };
	auto_free unsigned char *statuses = NULL;

	// An item takes more than two bytes, so an answer cannot make us ask for more memory than its own size.
	if (expected > len / 2)
		return bulk_decode_whole(body, len, expected, cb, arg, e);
	statuses = mem_calloc(expected + 1, sizeof(*statuses));
	if (!bulk_scan_clean(body, len, expected, statuses))
		return bulk_decode_whole(body, len, expected, cb, arg, e);
	for (size_t i = 0; i < expected; i++) {
		item.status = 200 + statuses[i];
		cb(arg, i, &item);
	}
	return true;
}

// Cuts between characters, so that what is kept is still UTF-8 and can be stored.
static void copy_cut(char *out, size_t cap, const char *text)
{
	size_t n = strlen(text);

	if (n >= cap) {
		n = cap - 1;
		while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
			n--;
	}
	memcpy(out, text, n);
	out[n] = '\0';
}

// Amazon's gateway and some proxies answer with one line of plain text.
static void read_plain(const char *body, size_t len, struct bulk_error *ret)
{
	size_t n = 0;

	while (n < len && n < sizeof(ret->reason) - 1 && body[n] >= ' ' && body[n] < 0x7F)
		n++;
	if (n > 0 && !strchr("<{[", body[0])) {
		memcpy(ret->reason, body, n);
		ret->reason[n] = '\0';
	}
}

void bulk_error_read(const char *body, size_t len, struct bulk_error *ret)
{
	auto_json *root = json_loadb(body, len, JSON_ALLOW_NUL, NULL);
	const json_t *error = json_object_get(root, "error");
	const json_t *reason = NULL;

	*ret = (struct bulk_error){ .type = "", .reason = "" };
	if (!root) {
		read_plain(body, len, ret);
		return;
	}
	if (json_is_object(error)) {
		copy_cut(ret->type, sizeof(ret->type), text_of(json_object_get(error, "type")));
		reason = json_object_get(error, "reason");
	} else if (json_is_string(error)) {
		reason = error;
	} else { // Amazon's gateway
		reason = json_object_get(root, "message");
		reason = reason ? reason : json_object_get(root, "Message");
	}
	copy_cut(ret->reason, sizeof(ret->reason), text_of(reason));
}
