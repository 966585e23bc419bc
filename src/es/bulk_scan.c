// SPDX-License-Identifier: MIT
// A recursive scanner for the part of JSON that clean answers are made of: ASCII strings without escapes,
// short integers, shallow nesting. It must never accept what a real parser refuses or reads otherwise, so every
// function here says no as soon as it is not sure; a key that occurs twice is such a case.
#include "es/bulk_scan.h"

#include <string.h>

enum { DEPTH_MAX = 8, DIGITS_MAX = 18 };

struct scan {
	const char *p;
	const char *end;
};

struct text {
	const char *p;
	size_t n;
};

// An item that was understood. Most items of an answer are the same bytes: {"index":{"status":200}}.
struct known_item {
	struct text text;
	unsigned char status;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void skip_space(struct scan *s)
{
	while (s->p < s->end && is_space(*s->p))
		s->p++;
}

static bool take(struct scan *s, char c)
{
	skip_space(s);
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool take_text(struct scan *s, struct text *ret)
{
	const char *start;

	if (!take(s, '"'))
		return false;
	start = s->p;
	while (s->p < s->end && *s->p >= ' ' && *s->p < 0x7F && *s->p != '"' && *s->p != '\\')
		s->p++;
	if (s->p == s->end || *s->p != '"')
		return false;
	*ret = (struct text){ .p = start, .n = (size_t)(s->p - start) };
	s->p++;
	return true;
}

static bool take_key(struct scan *s, struct text *ret)
{
	return take_text(s, ret) && take(s, ':');
}

static bool is(struct text t, const char *word)
{
	return t.n == strlen(word) && memcmp(t.p, word, t.n) == 0;
}

// An integer that fits; fractions and exponents are not ours.
static bool take_integer(struct scan *s, long long *ret)
{
	long long n = 0;
	const char *start;
	bool minus;

	skip_space(s);
	minus = s->p < s->end && *s->p == '-';
	if (minus)
		s->p++;
	start = s->p;
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && s->p - start < DIGITS_MAX)
		n = n * 10 + (*s->p++ - '0');
	if (s->p == start || (*start == '0' && s->p - start > 1))
		return false;
	if (s->p == s->end || strchr("0123456789.eE", *s->p)) // a NUL matches too: not JSON
		return false;
	*ret = minus ? -n : n;
	return true;
}

static bool take_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	skip_space(s);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

// NOLINTBEGIN(misc-no-recursion): depth counts down, and ends it
static bool skip_value(struct scan *s, int depth);

static bool skip_members(struct scan *s, int depth, bool with_keys, char close)
{
	struct text key;

	s->p++; // the opening bracket
	if (take(s, close))
		return true;
	do {
		if ((with_keys && !take_key(s, &key)) || !skip_value(s, depth - 1))
			return false;
	} while (take(s, ','));
	return take(s, close);
}

static bool skip_value(struct scan *s, int depth)
{
	struct text text;
	long long number;

	skip_space(s);
	if (depth == 0 || s->p == s->end)
		return false;
	switch (*s->p) {
	case '"':
		return take_text(s, &text);
	case '{':
		return skip_members(s, depth, true, '}');
	case '[':
		return skip_members(s, depth, false, ']');
	case 't':
		return take_word(s, "true");
	case 'f':
		return take_word(s, "false");
	case 'n':
		return take_word(s, "null");
	default:
		return take_integer(s, &number);
	}
}
// NOLINTEND(misc-no-recursion)

// {"index":{"_id":"7",...,"status":201}}
static bool take_item(struct scan *s, unsigned char *ret_status)
{
	bool has_status = false;
	long long status = 0;
	struct text key;

	if (!take(s, '{') || !take_key(s, &key) || !take(s, '{'))
		return false;
	do {
		if (!take_key(s, &key) || is(key, "error"))
			return false;
		if (!is(key, "status")) {
			if (!skip_value(s, DEPTH_MAX))
				return false;
			continue;
		}
		if (has_status || !take_integer(s, &status) || status < 200 || status > 299)
			return false;
		has_status = true;
	} while (take(s, ','));
	if (!has_status || !take(s, '}') || !take(s, '}'))
		return false;
	*ret_status = (unsigned char)(status - 200);
	return true;
}

// The same bytes at a place where an item may stand mean the same again.
static bool take_known_item(struct scan *s, const struct known_item *known)
{
	size_t n = known->text.n;

	if (n == 0 || (size_t)(s->end - s->p) < n || memcmp(s->p, known->text.p, n) != 0)
		return false;
	s->p += n;
	return true;
}

static bool take_items(struct scan *s, size_t expected, unsigned char *statuses)
{
	struct known_item known = { .text = { .p = s->p, .n = 0 }, .status = 0 };

	if (!take(s, '['))
		return false;
	for (size_t i = 0; i < expected; i++) {
		if (i > 0 && !take(s, ','))
			return false;
		skip_space(s);
		if (!take_known_item(s, &known)) {
			known.text.p = s->p;
			if (!take_item(s, &known.status))
				return false;
			known.text.n = (size_t)(s->p - known.text.p);
		}
		statuses[i] = known.status;
	}
	return take(s, ']');
}

bool bulk_scan_clean(const char *text, size_t len, size_t expected, unsigned char *statuses)
{
	struct scan s = { .p = text, .end = text + len };
	bool has_errors = false;
	bool has_items = false;
	struct text key;

	if (!take(&s, '{'))
		return false;
	do {
		if (!take_key(&s, &key))
			return false;
		if (is(key, "errors")) {
			if (has_errors || !take_word(&s, "false"))
				return false;
			has_errors = true;
		} else if (is(key, "items")) {
			if (has_items || !take_items(&s, expected, statuses))
				return false;
			has_items = true;
		} else if (!skip_value(&s, DEPTH_MAX)) {
			return false;
		}
	} while (take(&s, ','));
	if (!has_errors || !has_items || !take(&s, '}'))
		return false;
	skip_space(&s);
	return s.p == s.end;
}
