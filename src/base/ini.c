// SPDX-License-Identifier: MIT
#include "base/ini.h"

#include "base/buf.h"
#include "base/mem.h"

#include <string.h>

// A run of bytes of the text.
struct span {
	const char *at;
	size_t len;
};

// An entry is handed over when the line after it shows that it does not go on.
struct reader {
	const char *name;
	int line;
	char *section; // NULL before the first one
	char *key;     // NULL when no entry is open
	int key_line;
	struct buf value;
	ini_callback *cb;
	void *arg;
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span trim(struct span s)
{
	while (s.len && is_space(s.at[0])) {
		s.at++;
		s.len--;
	}
	while (s.len && is_space(s.at[s.len - 1]))
		s.len--;
	return s;
}

static void replace(char **text, const struct span *s)
{
	free(*text);
	*text = s ? mem_strndup(s->at, s->len) : NULL;
}

static bool close_entry(struct reader *r, struct err *e)
{
	if (!r->key)
		return true;
	struct ini_entry entry = {
		.section = r->section,
		.key = r->key,
		.value = buf_str(&r->value),
		.line = r->key_line,
	};
	bool ok = r->cb(r->arg, &entry, e);
	replace(&r->key, NULL);
	if (!ok)
		return err_prefix(e, "%s:%d", r->name, r->key_line);
	return true;
}

static bool wrong(const struct reader *r, struct err *e, const char *what)
{
	return err_set(e, ERR_CONFIG, "%s:%d: %s", r->name, r->line, what);
}

static bool read_section(struct reader *r, struct span s, struct err *e)
{
	const char *end = memchr(s.at, ']', s.len);
	if (!end)
		return wrong(r, e, "a section is not closed: write [name]");
	if (end != s.at + s.len - 1)
		return wrong(r, e, "text behind a section: comments need a line of their own");
	struct span name = trim((struct span){ s.at + 1, s.len - 2 });
	if (!name.len)
		return wrong(r, e, "a section has no name: write [name]");
	replace(&r->section, &name);
	return true;
}

static bool read_entry(struct reader *r, struct span s, struct err *e)
{
	const char *equals = memchr(s.at, '=', s.len);
	if (!equals)
		return wrong(r, e, "neither a comment, [section] nor key = value");
	if (!r->section)
		return wrong(r, e, "a key before the first [section]");
	size_t key_len = (size_t)(equals - s.at);
	struct span key = trim((struct span){ s.at, key_len });
	if (!key.len)
		return wrong(r, e, "nothing in front of the =");
	struct span value = trim((struct span){ equals + 1, s.len - key_len - 1 });
	replace(&r->key, &key);
	r->key_line = r->line;
	buf_clear(&r->value);
	buf_add(&r->value, value.at, value.len);
	return true;
}

static bool read_line(struct reader *r, struct span line, struct err *e)
{
	if (memchr(line.at, '\0', line.len))
		return wrong(r, e, "a NUL byte: this is not a text file");
	struct span s = trim(line);
	if (line.len && (line.at[0] == '#' || line.at[0] == ';'))
		return true;
	if (s.len && is_space(line.at[0])) {
		if (!r->key)
			return wrong(r, e, "an indented line without a value above it to continue");
		if (r->value.len)
			buf_addc(&r->value, '\n');
		buf_add(&r->value, s.at, s.len);
		return true;
	}
	if (!close_entry(r, e))
		return false;
	if (!s.len)
		return true;
	return s.at[0] == '[' ? read_section(r, s, e) : read_entry(r, s, e);
}

static bool read_lines(struct reader *r, struct span text, struct err *e)
{
	while (text.len) {
		const char *newline = memchr(text.at, '\n', text.len);
		size_t len = newline ? (size_t)(newline - text.at) : text.len;
		r->line++;
		if (!read_line(r, (struct span){ text.at, len }, e))
			return false;
		len += newline != NULL;
		text = (struct span){ text.at + len, text.len - len };
	}
	return close_entry(r, e);
}

bool ini_parse(const char *name, const char *text, size_t len, ini_callback *cb, void *arg, struct err *e)
{
	struct reader r = { .name = name, .cb = cb, .arg = arg };
	buf_init(&r.value, len); // no value is longer than the text
	(void)buf_reserve(&r.value, len);
	bool ok = read_lines(&r, (struct span){ text, len }, e);
	replace(&r.section, NULL);
	replace(&r.key, NULL);
	buf_wipe(&r.value); // it may have held a password
	return ok;
}
