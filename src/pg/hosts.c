// SPDX-License-Identifier: MIT
#include "pg/hosts.h"

#include "base/buf.h"
#include "base/mem.h"

#include <libpq-fe.h>
#include <string.h>

#define DSN_MAX (64 * 1024)

static const char *const lists[] = { "host", "hostaddr", "port" };

void hosts_free_options(struct _PQconninfoOption *options)
{
	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (o->val)
			explicit_bzero(o->val, strlen(o->val));
	}
	PQconninfoFree(options);
}

static int count(const char *list)
{
	int n = 1;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

static bool is_list(const char *keyword)
{
	for (size_t i = 0; i < array_len(lists); i++) {
		if (strcmp(keyword, lists[i]) == 0)
			return true;
	}
	return false;
}

int hosts_count(const char *dsn)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	int most = 1;

	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (o->val && is_list(o->keyword) && count(o->val) > most)
			most = count(o->val);
	}
	hosts_free_options(options);
	return most;
}

// "a,b,c" by 1 is "b,c,a". A single value stands for all and stays.
static void add_rotated(struct buf *out, const char *list, int turn)
{
	int n = count(list);
	const char *cut = list;

	for (int i = 0; i < turn % n; i++)
		cut = strchr(cut, ',') + 1;
	buf_adds(out, cut);
	if (cut != list) {
		buf_addc(out, ',');
		buf_add(out, list, (size_t)(cut - list) - 1);
	}
}

// key = 'value' with quotes and backslashes escaped, as libpq reads it.
static void add_option(struct buf *out, const char *keyword, const char *value)
{
	buf_addf(out, "%s='", keyword);
	for (; *value; value++) {
		if (*value == '\'' || *value == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *value);
	}
	buf_adds(out, "' ");
}

char *hosts_rotated(const char *dsn, int turn)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	struct buf out, list;

	if (!options)
		return mem_strdup(dsn);
	buf_init(&out, DSN_MAX);
	(void)buf_reserve(&out, DSN_MAX); // at once: it may hold a password
	buf_init(&list, DSN_MAX);
	for (PQconninfoOption *o = options; o->keyword; o++) {
		if (!o->val)
			continue;
		buf_clear(&list);
		if (is_list(o->keyword))
			add_rotated(&list, o->val, turn);
		add_option(&out, o->keyword, is_list(o->keyword) ? buf_str(&list) : o->val);
	}
	hosts_free_options(options);
	buf_done(&list);
	return buf_take(&out);
}
