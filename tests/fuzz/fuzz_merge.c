// SPDX-License-Identifier: MIT
// A part merged into a document: what jansson reads as two objects is merged, and the result is what a merge of jansson's objects
// gives. Whatever else the texts are, nothing is read beyond their ends, and what is refused leaves nothing.
// Fields: document ("\N" = there is none), part.
#include "core/json_text.h"
#include "core/merge.h"
#include "fuzz.h"

#include <jansson.h>

#define DEPTH_FUZZED 100 // where both readers agree on the depth

static json_t *read_object(struct slice text)
{
	json_t *root = text.p ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL)
			      : json_object();

	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}

static size_t depth_of(struct slice text)
{
	size_t depth = 0;

	for (size_t i = 0; i < text.n; i++)
		depth += text.p[i] == '{' || text.p[i] == '[';
	return depth;
}

static void merge_plainly(json_t *base, json_t *part)
{
	const char *key;
	json_t *value;

	json_object_foreach(part, key, value)
	{
		json_t *there = json_object_get(base, key);

		if (json_is_object(there) && json_is_object(value))
			merge_plainly(there, value);
		else
			json_object_set(base, key, value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed feed = { data, size };
	size_t base_len, part_len;
	char *base_text = feed_field(&feed, &base_len), *part_text = feed_rest(&feed, &part_len);
	bool none = strcmp(base_text, "\\N") == 0;
	struct slice base = { none ? NULL : base_text, none ? 0 : base_len }, part = { part_text, part_len };
	json_t *base_tree = read_object(base), *part_tree = read_object(part), *made;
	struct buf out;
	bool merged;

	buf_init(&out, 1 << 20);
	buf_adds(&out, "x");
	merged = merge_object(base, part, &out);
	check(merged || out.len == 1);
	check(!merged || !memchr(out.data, '\n', out.len));
	check(!merged ||
	      json_is_text_of_object((struct slice){ out.data + 1, out.len - 1 }, JSON_DOCUMENT_DEPTH));
	if (base_tree && part_tree && depth_of(base) + depth_of(part) < DEPTH_FUZZED) {
		check(merged);
		made = json_loadb(out.data + 1, out.len - 1, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
		merge_plainly(base_tree, part_tree);
		check(json_equal(made, base_tree));
		json_decref(made);
	}
	json_decref(base_tree);
	json_decref(part_tree);
	buf_done(&out);
	free(base_text);
	free(part_text);
	return 0;
}
