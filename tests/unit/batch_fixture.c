// SPDX-License-Identifier: MIT
#include "batch_fixture.h"

#include <string.h>

struct batch *fresh(struct buf *body)
{
	buf_init(body, BODY_MAX);
	return batch_new();
}

static struct slice slice(const char *text)
{
	return (struct slice){ text, strlen(text) };
}

struct row row_of(const char *index, const char *document_id)
{
	return (struct row){ .index = slice(index), .document_id = slice(document_id) };
}

void add_bytes(struct batch *b, struct buf *body, size_t number, const char *bytes)
{
	size_t start = body->len;

	buf_adds(body, bytes);
	batch_set_bytes(b, number, start, body->len);
}

size_t put(struct batch *b, struct buf *body, const char *id, enum op op, const char *bytes)
{
	struct row row = row_of("x", id);
	bool held = false;
	size_t number = batch_add(b, &row, op, &held);

	if (!held)
		add_bytes(b, body, number, bytes);
	return number;
}

// Event number n of a row of the table is n characters '0' + n, so that every body says what it is made of.
void append(struct batch *b, struct buf *body, char key, char op, bool *ret_held)
{
	char bytes[16] = "", id[2] = { key, '\0' };
	struct row row = row_of("x", id);
	const struct refusal why = { .type = "t", .reason = "r" };

	if (op == 'r') {
		*ret_held = false;
		batch_add_refused(b, &row, &why);
		return;
	}
	size_t n = batch_add(b, &row,
			     op == 'i'   ? OP_INDEX
			     : op == 'd' ? OP_DELETE
			     : op == 'u' ? OP_UPDATE
					 : OP_CREATE,
			     ret_held);

	memset(bytes, (int)('0' + n), n ? n : 1);
	if (!*ret_held)
		add_bytes(b, body, n, bytes);
}
