// SPDX-License-Identifier: MIT
#include "cmd/table.h"

#include "pg/sync.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define COLUMN_MAX 80 // the last column, the longest by nature, is printed in full

static const char *cell(const struct pg_result *res, int row, int col)
{
	const char *text = sync_text(res, row, col);

	return text ? text : "-";
}

static int width(const struct pg_result *res, int col)
{
	size_t most = strlen(sync_column(res, col));

	for (int r = 0; r < sync_rows(res); r++) {
		size_t n = strlen(cell(res, r, col));

		if (n > most)
			most = n;
	}
	return most < COLUMN_MAX ? (int)most : COLUMN_MAX;
}

// C0, DEL, and C1 (in UTF-8 a C2 byte and one from 80 to 9F).
static bool is_control(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	return *p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0);
}

void table_put_text(const char *text)
{
	for (; *text; text++)
		putchar(is_control(text) ? ' ' : *text);
}

void table_put_age(double seconds)
{
	long long s = (long long)seconds;

	if (s < 60)
		printf("%.1f s", seconds);
	else if (s < 3600)
		printf("%lld min %lld s", s / 60, s % 60);
	else if (s < 86400)
		printf("%lld h %lld min", s / 3600, s / 60 % 60);
	else
		printf("%lld d %lld h", s / 86400, s / 3600 % 24);
}

static void put(const char *text, int pad, bool last)
{
	int n = 0;

	for (; *text && (last || n < COLUMN_MAX); text++, n++)
		putchar(is_control(text) ? ' ' : *text);
	if (last)
		putchar('\n');
	else
		printf("%*s", pad - n + 2, "");
}

json_t *table_json_cell(const struct pg_result *res, int row, int col)
{
	const char *text = sync_text(res, row, col);
	json_t *value = NULL;

	if (text && sync_is_number(res, col))
		value = json_loads(text, JSON_DECODE_ANY, NULL);
	return value ? value : text ? json_string(text) : json_null();
}

static void print_json(const struct pg_result *res)
{
	json_t *list = json_array();

	for (int r = 0; r < sync_rows(res); r++) {
		json_t *object = json_object();

		for (int c = 0; c < sync_columns(res); c++) {
			json_object_set_new(object, sync_column(res, c), table_json_cell(res, r, c));
		}
		json_array_append_new(list, object);
	}
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(list);
}

void table_print(const struct pg_result *res, bool json)
{
	int columns = sync_columns(res);

	if (json) {
		print_json(res);
		return;
	}
	for (int r = -1; r < sync_rows(res); r++) {
		for (int c = 0; c < columns; c++)
			put(r < 0 ? sync_column(res, c) : cell(res, r, c), width(res, c), c == columns - 1);
	}
}
