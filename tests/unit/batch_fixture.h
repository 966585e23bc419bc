// SPDX-License-Identifier: MIT
// What the tests of the batch share: events in one line each.
#ifndef OUTBOXD_TESTS_BATCH_FIXTURE_H
#define OUTBOXD_TESTS_BATCH_FIXTURE_H

#include "base/buf.h"
#include "core/batch.h"

#include <stdbool.h>
#include <stddef.h>

#define BODY_MAX (1024 * 1024)
#define MAX_ATTEMPTS 3

struct batch *fresh(struct buf *body); // and an empty body
struct row row_of(const char *index, const char *document_id);
void add_bytes(struct batch *b, struct buf *body, size_t number, const char *bytes);
// An event of the document x/id; it gets its bytes unless it is held. Returns its number.
size_t put(struct batch *b, struct buf *body, const char *id, enum op op, const char *bytes);
// The same by letters: i = index, d = delete, c = create, r = refused before sending. Event number n has n
// characters '0' + n, so that every body says what it is made of.
void append(struct batch *b, struct buf *body, char key, char op, bool *ret_held);

#endif
