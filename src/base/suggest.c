// SPDX-License-Identifier: MIT
#include "suggest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

// Edits (insert, remove, replace, swap neighbours) from a to b, both at most SUGGEST_MAX long; case is free.
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][SUGGEST_MAX + 1]; // row i is that of a's first i characters, modulo 3
	size_t a_len = strlen(a), b_len = strlen(b);
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		const size_t *above = rows[(i - 1) % 3];
		size_t *row = rows[i % 3];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = least(least(above[j], row[j - 1]) + 1,
				       above[j - 1] + !same(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
				row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

void suggest_init(struct suggest *s, const char *word)
{
	*s = (struct suggest){ .word = word };
	size_t len = strnlen(word, SUGGEST_MAX + 1);
	if (len <= SUGGEST_MAX)
		s->distance = 2 + len / 4; // best so far: what is too far to be worth a word
}

void suggest_offer(struct suggest *s, const char *name)
{
	if (!s->distance || strnlen(name, SUGGEST_MAX + 1) > SUGGEST_MAX)
		return;
	size_t distance = edit_distance(s->word, name);
	// A word that shares nothing with the name is no typing error.
	if (distance >= s->distance || distance >= strlen(name))
		return;
	s->distance = distance;
	snprintf(s->best, sizeof(s->best), "%s", name);
}

const char *suggest_text(struct suggest *s)
{
	s->text[0] = '\0';
	if (s->best[0])
		snprintf(s->text, sizeof(s->text), ", did you mean \"%s\"?", s->best);
	return s->text;
}
