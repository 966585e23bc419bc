// SPDX-License-Identifier: MIT
// Answers: whatever arrives, the scanner and the decoder read what jansson reads, or refuse.
#include "base/attr.h"
#include "es/bulk.h"
#include "es/bulk_scan.h"
#include "fuzz.h"

#include <jansson.h>

struct seen {
	const json_t *items; // NULL when nobody may be called back
	size_t count;
};

static const char *string_of(const json_t *json)
{
	return json_is_string(json) ? json_string_value(json) : "";
}

static const json_t *result_of(const json_t *items, size_t i)
{
	json_t *item = json_array_get(items, i);

	return json_object_size(item) == 1 ? json_object_iter_value(json_object_iter(item)) : NULL;
}

static void on_item(void *arg, size_t position, const struct bulk_item *item)
{
	struct seen *seen = arg;
	const json_t *result = result_of(seen->items, position);
	const json_t *error = json_object_get(result, "error");
	const json_t *reason = json_is_string(error) ? error : json_object_get(error, "reason");

	check(position == seen->count++);
	check(item->status == json_integer_value(json_object_get(result, "status")));
	check(strcmp(item->type, string_of(json_object_get(error, "type"))) == 0);
	check(strcmp(item->reason, string_of(reason)) == 0);
}

// The contract of bulk_decode, by way of a tree.
static bool is_answer(const json_t *root, size_t expected)
{
	const json_t *items = json_object_get(root, "items");

	if (!json_is_boolean(json_object_get(root, "errors")) || !json_is_array(items) ||
	    json_array_size(items) != expected)
		return false;
	for (size_t i = 0; i < expected; i++) {
		const json_t *status = json_object_get(result_of(items, i), "status");

		if (!json_is_integer(status) || json_integer_value(status) < 0 ||
		    json_integer_value(status) > 999)
			return false;
	}
	return true;
}

static void check_scan(const json_t *root, const char *text, size_t len, size_t expected)
{
	unsigned char *statuses = calloc(expected + 1, 1);
	const json_t *items = json_object_get(root, "items");

	check(statuses != NULL);
	if (bulk_scan_clean(text, len, expected, statuses)) {
		check(is_answer(root, expected) && json_is_false(json_object_get(root, "errors")));
		for (size_t i = 0; i < expected; i++) {
			const json_t *result = result_of(items, i);

			check(json_integer_value(json_object_get(result, "status")) == 200 + statuses[i]);
			check(statuses[i] <= 99 && !json_object_get(result, "error"));
		}
	}
	free(statuses);
}

static void check_decode(const json_t *root, const char *text, size_t len, size_t expected)
{
	struct seen seen = { .items = json_object_get(root, "items") };
	struct err e = { .kind = ERR_NONE };
	bool ok = bulk_decode(text, len, expected, on_item, &seen, &e);

	check(ok == is_answer(root, expected));
	check(seen.count == (ok ? expected : 0));
	check(ok || (e.kind == ERR_UNAVAILABLE && e.text[0]));
}

static void check_error(const char *text, size_t len)
{
	struct bulk_error error;
	json_t *type;
	json_t *reason;

	bulk_error_read(text, len, &error);
	type = json_string(error.type); // NULL for what is not UTF-8
	reason = json_string(error.reason);
	check(type && json_string_length(type) < sizeof(error.type));
	check(reason && json_string_length(reason) < sizeof(error.reason));
	json_decref(type);
	json_decref(reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	json_t *root = json_loadb(text, size, JSON_ALLOW_NUL, NULL);
	size_t items = json_array_size(json_object_get(root, "items"));
	size_t counts[] = { items, items + 1, items / 2, 0, size };

	for (size_t i = 0; i < array_len(counts); i++) {
		check_scan(root, text, size, counts[i]);
		check_decode(root, text, size, counts[i]);
	}
	check_error(text, size);
	json_decref(root);
	return 0;
}
