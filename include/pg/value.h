// SPDX-License-Identifier: MIT
// Values to and from PostgreSQL in its binary format.
#ifndef OUTBOXD_PG_VALUE_H
#define OUTBOXD_PG_VALUE_H

#include "base/buf.h"
#include "core/row.h"

#include <stdbool.h>
#include <stdint.h>

struct pg_result; // libpq's PGresult

struct param {
	const char *data; // NULL = SQL NULL
	int len;
	bool binary; // false: text, NUL-terminated
};

static inline struct param param_text(const char *text)
{
	return (struct param){ .data = text };
}
static inline struct param param_binary(const struct buf *b)
{
	return (struct param){ .data = b->data, .len = (int)b->len, .binary = true };
}

// Arrays and numbers as parameters. begin, then one add for each of `count` elements; b is cleared first.
void array_begin(struct buf *b, uint32_t element_type, int32_t count);
void array_add_int4(struct buf *b, int32_t v);
void array_add_int8(struct buf *b, int64_t v);
void array_add_tid(struct buf *b, struct tid v);
void array_add_text(struct buf *b, const char *text, size_t len);
void value_oid(struct buf *b, uint32_t v); // b is cleared first
void value_int8(struct buf *b, int64_t v); // b is cleared first
#define ARRAY_INT4 23u
#define ARRAY_INT8 20u
#define ARRAY_TEXT 25u
#define ARRAY_TID 27u

// Columns of a result row. A NULL or a value of another width than the type asks for is 0, false or {NULL, 0}.
bool value_is_null(const struct pg_result *res, int row, int col);
int64_t value_get_int(const struct pg_result *res, int row, int col); // int2, int4, int8
// timestamptz, in microseconds since 1970; infinity is 0.
int64_t value_get_time_us(const struct pg_result *res, int row, int col);
double value_get_real(const struct pg_result *res, int row, int col); // float8
bool value_get_bool(const struct pg_result *res, int row, int col);
// Offset 0 = it is no tid.
struct tid value_get_tid(const struct pg_result *res, int row, int col);
struct slice value_get_text(const struct pg_result *res, int row, int col); // borrowed from res

#endif
