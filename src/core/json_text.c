// SPDX-License-Identifier: MIT
#include "core/json_text.h"

#include <stdint.h>
#include <string.h>

enum { DEPTH_MAX = 2000 };

static void skip_space(struct json_walk *w)
{
	while (w->p < w->end && (*w->p == ' ' || *w->p == '\n' || *w->p == '\t' || *w->p == '\r'))
		w->p++;
}

static bool take(struct json_walk *w, char c)
{
	skip_space(w);
	if (w->p == w->end || *w->p != c)
		return false;
	w->p++;
	return true;
}

static bool is_digit(const struct json_walk *w)
{
	return w->p < w->end && *w->p >= '0' && *w->p <= '9';
}

static bool skip_digits(struct json_walk *w)
{
	const char *start = w->p;

	while (is_digit(w))
		w->p++;
	return w->p > start;
}

static bool skip_number(struct json_walk *w)
{
	if (w->p < w->end && *w->p == '-')
		w->p++;
	if (w->p < w->end && *w->p == '0')
		w->p++;
	else if (!skip_digits(w))
		return false;
	if (w->p < w->end && *w->p == '.') {
		w->p++;
		if (!skip_digits(w))
			return false;
	}
	if (w->p < w->end && (*w->p == 'e' || *w->p == 'E')) {
		w->p++;
		if (w->p < w->end && (*w->p == '+' || *w->p == '-'))
			w->p++;
		if (!skip_digits(w))
			return false;
	}
	return true;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static bool skip_escape(struct json_walk *w)
{
	w->p++; // the backslash
	if (w->p == w->end || *w->p == '\0' || !strchr("\"\\/bfnrtu", *w->p))
		return false;
	if (*w->p++ != 'u')
		return true;
	for (int i = 0; i < 4; i++) {
		if (w->p == w->end || hex_value(*w->p) < 0)
			return false;
		w->p++;
	}
	return true;
}

static bool skip_string(struct json_walk *w)
{
	w->p++; // the opening quote
	while (w->p < w->end && *w->p != '"') {
		if ((unsigned char)*w->p < ' ')
			return false;
		if (*w->p != '\\')
			w->p++;
		else if (!skip_escape(w))
			return false;
	}
	return take(w, '"');
}

static bool skip_word(struct json_walk *w, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(w->end - w->p) < n || memcmp(w->p, word, n) != 0)
		return false;
	w->p += n;
	return true;
}

static bool skip_key(struct json_walk *w)
{
	skip_space(w);
	return w->p < w->end && *w->p == '"' && skip_string(w) && take(w, ':');
}

// NOLINTBEGIN(misc-no-recursion): depth counts down, and ends it
static bool skip_value(struct json_walk *w, int depth);

static bool skip_container(struct json_walk *w, int depth, bool with_keys, char close)
{
	w->p++; // the opening bracket
	if (take(w, close))
		return true;
	do {
		if ((with_keys && !skip_key(w)) || !skip_value(w, depth - 1))
			return false;
	} while (take(w, ','));
	return take(w, close);
}

static bool skip_value(struct json_walk *w, int depth)
{
	skip_space(w);
	if (depth == 0 || w->p == w->end)
		return false;
	switch (*w->p) {
	case '"':
		return skip_string(w);
	case '{':
		return skip_container(w, depth, true, '}');
	case '[':
		return skip_container(w, depth, false, ']');
	case 't':
		return skip_word(w, "true");
	case 'f':
		return skip_word(w, "false");
	case 'n':
		return skip_word(w, "null");
	default:
		return skip_number(w);
	}
}
// NOLINTEND(misc-no-recursion)

static struct json_walk over(struct slice text)
{
	const char *p = text.p ? text.p : ""; // what is not there has no members

	return (struct json_walk){ p, p + text.n };
}

bool json_is_text_of_object(struct slice text, int depth)
{
	struct json_walk w = over(text);

	skip_space(&w);
	if (w.p == w.end || *w.p != '{' || !skip_value(&w, depth))
		return false;
	skip_space(&w);
	return w.p == w.end;
}

struct json_walk json_walk(struct slice container)
{
	struct json_walk w = over(container);

	skip_space(&w);
	if (w.p < w.end && (*w.p == '{' || *w.p == '['))
		w.p++;
	else
		w.p = w.end;
	return w;
}

bool json_next(struct json_walk *w, struct json_member *ret)
{
	const char *start;

	(void)take(w, ',');
	skip_space(w);
	if (w->p == w->end || *w->p == '}' || *w->p == ']')
		return false;
	*ret = (struct json_member){ { NULL, 0 }, { NULL, 0 } };
	start = w->p;
	if (*start == '"' && skip_string(w)) {
		ret->key = (struct slice){ start + 1, (size_t)(w->p - start) - 2 };
		if (!take(w, ':')) { // it was an element
			ret->value = (struct slice){ start, ret->key.n + 2 };
			ret->key.p = NULL;
			return true;
		}
		skip_space(w);
		start = w->p;
	}
	if (!skip_value(w, DEPTH_MAX))
		return false;
	ret->value = (struct slice){ start, (size_t)(w->p - start) };
	return true;
}

// -- strings

static uint32_t hex4(const char *p)
{
	uint32_t code = 0;

	for (int i = 0; i < 4; i++)
		code = code * 16 + (uint32_t)hex_value(p[i]);
	return code;
}

static size_t put_utf8(uint32_t code, char out[4])
{
	static const unsigned char lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
	size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	for (size_t i = n; i-- > 1; code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3F));
	out[0] = (char)((n == 1 ? 0 : lead[n]) | code);
	return n;
}

// The bytes that a string means, one after the other; of a text that is known to be valid. Half of a surrogate pair is no character,
// and becomes the three bytes that others make of it, so that it is told from its like.
struct meaning {
	struct slice left;
	char pending[4];
	size_t at, count;
};

static void decode(struct meaning *m)
{
	static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *p = m->left.p;
	size_t used = 1;

	m->at = 0;
	m->count = 1;
	m->pending[0] = *p;
	if (*p == '\\' && p[1] != 'u') {
		m->pending[0] = meant[strchr(letters, p[1]) - letters];
		used = 2;
	} else if (*p == '\\') {
		uint32_t code = hex4(p + 2),
			 low = m->left.n >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8) : 0;
		bool pair = code >= 0xD800 && code < 0xDC00 && low >= 0xDC00 && low < 0xE000;

		used = pair ? 12 : 6;
		m->count = put_utf8(pair ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : code,
				    m->pending);
	}
	m->left.p += used;
	m->left.n -= used;
}

// -1 = the end.
static int next_byte(struct meaning *m)
{
	if (m->at == m->count) {
		if (m->left.n == 0)
			return -1;
		decode(m);
	}
	return (unsigned char)m->pending[m->at++];
}

bool json_same_key(struct slice a, struct slice b)
{
	struct meaning x = { .left = a }, y = { .left = b };
	int c;

	if (!memchr(a.p, '\\', a.n) && !memchr(b.p, '\\', b.n))
		return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
	do {
		c = next_byte(&x);
		if (c != next_byte(&y))
			return false;
	} while (c >= 0);
	return true;
}

static bool is_half_a_pair(const struct meaning *m)
{
	return m->count == 3 && (unsigned char)m->pending[0] == 0xED && (unsigned char)m->pending[1] >= 0xA0;
}

void json_read_string(struct slice value, char *out, size_t cap)
{
	struct meaning m = { .left = { NULL, 0 } };
	size_t n = 0, begin = 0; // of the character that is being copied
	int c;

	if (value.p && value.n >= 2 && *value.p == '"')
		m.left = (struct slice){ value.p + 1, value.n - 2 };
	while ((c = next_byte(&m)) >= 0 && n + 1 < cap) {
		if ((c & 0xC0) != 0x80)
			begin = n;
		out[n++] = (char)c;
		if (m.at == 1 && is_half_a_pair(&m)) {
			out[n - 1] = '?';
			m.at = m.count;
		}
	}
	out[c >= 0 && (c & 0xC0) == 0x80 ? begin : n] = '\0';
}

// -- members

struct slice json_get(struct slice object, const char *name)
{
	struct json_walk w = json_walk(object);
	struct json_member member;

	while (json_next(&w, &member)) {
		if (member.key.p && json_same_key(member.key, (struct slice){ name, strlen(name) }))
			return member.value;
	}
	return (struct slice){ NULL, 0 };
}

bool json_is(struct slice value, const char *text)
{
	return value.p && value.n == strlen(text) && memcmp(value.p, text, value.n) == 0;
}
