// SPDX-License-Identifier: MIT
// The mapping: whatever the table is called, every name that is made of it is one quoted identifier (or two) and
// every literal is one literal; the alias is left out of an index expression just where PostgreSQL would see it.
// Fields: preset (0 to 2), table, id, key, SQL text to expand.
#include "fuzz.h"
#include "pg/mapping.h"

#include <ctype.h>

// Behind the quoted run at s, whose quotes are doubled inside it; NULL when it is not closed.
static const char *behind_quoted(const char *s, char quote, bool backslashes, size_t *ret_len)
{
	*ret_len = 0;
	check(*s == quote);
	for (s++; *s; s++, ++*ret_len) {
		if (s[0] == quote && s[1] != quote)
			return s + 1;
		if ((s[0] == quote || (backslashes && s[0] == '\\')) && s[1])
			s++;
	}
	return NULL;
}

static void check_name(const char *name, bool may_have_schema)
{
	size_t len;
	const char *rest = behind_quoted(name, '"', false, &len);

	check(rest && len > 0 && len <= 63);
	if (may_have_schema && *rest == '.') {
		rest = behind_quoted(rest + 1, '"', false, &len);
		check(rest && len > 0 && len <= 63);
	}
	check(*rest == '\0');
}

// A long name is cut, but never what tells our names apart.
static void check_ending(const char *name, const char *ending)
{
	check(strlen(name) >= strlen(ending) && strcmp(name + strlen(name) - strlen(ending), ending) == 0);
}

static void check_literal(const char *literal)
{
	bool escaped = *literal == 'E';
	size_t len;
	const char *rest = behind_quoted(literal + escaped, '\'', escaped, &len);

	check(rest && *rest == '\0');
	check(escaped ||
	      !strchr(literal, '\\')); // it must mean the same with standard_conforming_strings off
}

static bool starts_word(char c)
{
	return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool goes_on(char c)
{
	return starts_word(c) || isdigit((unsigned char)c) || c == '$';
}

static size_t comment_length(const char *s)
{
	size_t n = 2;
	int depth = 1;

	while (s[n] && depth > 0) {
		bool opens = s[n] == '/' && s[n + 1] == '*', closes = s[n] == '*' && s[n + 1] == '/';

		depth += opens - closes;
		n += opens || closes ? 2 : 1;
	}
	return n;
}

// The length of what PostgreSQL's scanner takes as one at s: a run that holds no alias, a word, or one sign.
static size_t run_length(const char *s)
{
	bool escapes = (s[0] == 'e' || s[0] == 'E') && s[1] == '\'';
	size_t n = 1, len;
	const char *rest;

	if (escapes || *s == '\'' || *s == '"') {
		rest = behind_quoted(s + escapes, escapes ? '\'' : *s, escapes, &len);
		return rest ? (size_t)(rest - s) : strlen(s);
	}
	if (s[0] == '-' && s[1] == '-')
		return strcspn(s, "\n");
	if (s[0] == '/' && s[1] == '*')
		return comment_length(s);
	if (*s == '$') {
		while (goes_on(s[n]) && s[n] != '$')
			n++;
		rest = s[n] == '$' ? memmem(s + n + 1, strlen(s + n + 1), s, n + 1) : NULL;
		return s[n] != '$' ? 1 : rest ? (size_t)(rest - s) + n + 1 : strlen(s);
	}
	while (starts_word(*s) && goes_on(s[n]))
		n++;
	return n;
}

static void check_alias_left_out(const char *expression, const char *column)
{
	char before = ' ';

	for (const char *s = expression; *s;) {
		size_t n = run_length(s);

		if (n == 1 && tolower((unsigned char)*s) == 'o' && s[1] == '.' && before != '.') {
			s += 2;
			before = ' ';
			continue;
		}
		check(strncmp(column, s, n) == 0);
		before = s[n - 1];
		column += n;
		s += n;
	}
	check(*column == '\0');
}

static void check_mapping(const struct mapping *m, const char *sql)
{
	char *text = mapping_expand(m, sql, "CONCURRENTLY");

	check_name(m->table, true);
	check_name(m->lane_index, true);
	check_name(m->publish, true);
	check_name(m->notify, true);
	check_name(m->journal, true);
	check_name(m->lane_index_name, false);
	check_name(m->parked_index, false);
	check_name(m->seq_index, false);
	check_ending(m->publish, "_publish\"");
	check_ending(m->notify, "_notify\"");
	check_ending(m->parked_index, "_parked\"");
	check_ending(m->seq_index, "_seq\"");
	check_ending(m->journal, "\"outboxd_migrations\"");
	check(strncmp(m->listen, "LISTEN ", 7) == 0);
	check_name(m->listen + 7, false);
	check_literal(m->table_literal);
	check_literal(m->lane_index_literal);
	check_literal(m->channel_literal);
	check_literal(m->id_column_literal);
	check_alias_left_out(m->id, m->id_column);
	check_alias_left_out(m->key, m->key_column);
	check(strchr(sql, '{') || strncmp(sql, "--", 2) == 0 || strcmp(text, sql) == 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed feed = { data, size };
	size_t len;
	char *preset = feed_field(&feed, &len);
	char *table = feed_field(&feed, &len);
	char *id = feed_field(&feed, &len);
	char *key = feed_field(&feed, &len);
	char *sql = feed_rest(&feed, &len);
	struct err e = { .kind = ERR_NONE };
	struct config c;
	struct mapping m;

	config_init(&c);
	c.outbox_preset = (unsigned char)*preset % 3;
	c.outbox_table = table;
	c.outbox_id = id;
	c.outbox_key = key;
	if (mapping_init(&m, &c, &e))
		check_mapping(&m, sql);
	else
		check(e.kind == ERR_CONFIG && strstr(e.text, "outbox.table"));
	mapping_done(&m);
	config_done(&c);
	free(preset);
	free(table);
	free(id);
	free(key);
	free(sql);
	return 0;
}
