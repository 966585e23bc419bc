// SPDX-License-Identifier: MIT
#include "core/merge.h"

#include "base/mem.h"
#include "core/json_text.h"

#include <stdlib.h>
#include <string.h>

static bool is_object(struct slice value)
{
	return value.p && value.n > 0 && *value.p == '{';
}

// The members of the part, gone through once and not for each member of the base.
struct news {
	struct json_member *member; // key.p NULL = it is merged
	size_t count, next;         // where one is looked for first: as a rule the order is the same
};

static struct news read_news(struct slice part)
{
	struct json_walk w = json_walk(part);
	struct json_member member;
	struct news news = { NULL, 0, 0 };

	while (json_next(&w, &member))
		news.count++;
	news.member = mem_calloc(news.count + 1, sizeof(*news.member));
	w = json_walk(part);
	for (size_t i = 0; json_next(&w, &member); i++)
		news.member[i] = member;
	return news;
}

static bool take(struct news *news, struct slice key, struct slice *ret_value)
{
	for (size_t i = 0; i < news->count; i++) {
		struct json_member *m = &news->member[(news->next + i) % news->count];

		if (m->key.p && json_same_key(m->key, key)) {
			*ret_value = m->value;
			m->key.p = NULL;
			news->next = (news->next + i + 1) % news->count;
			return true;
		}
	}
	return false;
}

static void add_key(struct buf *out, struct slice key, bool first)
{
	buf_adds(out, first ? "\"" : ",\"");
	buf_add(out, key.p, key.n);
	buf_adds(out, "\":");
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the texts, which are no deeper than is allowed
static void merge(struct slice base, struct slice part, struct buf *out)
{
	struct json_walk w = json_walk(base);
	struct news news = read_news(part);
	struct json_member member;
	struct slice value;
	bool first = true;

	buf_addc(out, '{');
	for (; json_next(&w, &member); first = false) {
		bool both = take(&news, member.key, &value);

		add_key(out, member.key, first);
		if (both && is_object(member.value) && is_object(value))
			merge(member.value, value, out);
		else
			buf_add(out, both ? value.p : member.value.p, both ? value.n : member.value.n);
	}
	for (size_t i = 0; i < news.count; i++) {
		const struct json_member *m = &news.member[i];

		if (!m->key.p)
			continue;
		add_key(out, m->key, first);
		buf_add(out, m->value.p, m->value.n);
		first = false;
	}
	free(news.member);
	buf_addc(out, '}');
}

bool merge_object(struct slice base, struct slice part, struct buf *out)
{
	size_t before = out->len;
	char *line;

	if ((base.p && !json_is_text_of_object(base, JSON_DOCUMENT_DEPTH)) ||
	    !json_is_text_of_object(part, JSON_DOCUMENT_DEPTH))
		return false;
	if (base.p)
		merge(base, part, out);
	else
		buf_add(out, part.p, part.n);
	if (out->full) {
		buf_truncate(out, before);
		out->full = false;
		return false;
	}
	// White space between tokens may hold line ends; a string cannot.
	line = out->data + before;
	for (char *p = line; (p = memchr(p, '\n', (size_t)(out->data + out->len - p)));)
		*p = ' ';
	return true;
}
