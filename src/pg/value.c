// SPDX-License-Identifier: MIT
#include "pg/value.h"

#include <libpq-fe.h>
#include <string.h>

#define POSTGRES_EPOCH_US 946684800000000 // 2000-01-01 in microseconds since 1970

static void add_be16(struct buf *b, uint16_t v)
{
	const char bytes[2] = { (char)(v >> 8), (char)v };

	buf_add(b, bytes, sizeof(bytes));
}

static void add_be32(struct buf *b, uint32_t v)
{
	const char bytes[4] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };

	buf_add(b, bytes, sizeof(bytes));
}

static void add_be64(struct buf *b, uint64_t v)
{
	add_be32(b, (uint32_t)(v >> 32));
	add_be32(b, (uint32_t)v);
}

void array_begin(struct buf *b, uint32_t element_type, int32_t count)
{
	buf_clear(b);
	add_be32(b, count > 0 ? 1 : 0); // dimensions
	add_be32(b, 0);                 // no NULLs
	add_be32(b, element_type);
	if (count > 0) {
		add_be32(b, (uint32_t)count);
		add_be32(b, 1); // lower bound
	}
}

void array_add_int4(struct buf *b, int32_t v)
{
	add_be32(b, 4);
	add_be32(b, (uint32_t)v);
}

void array_add_int8(struct buf *b, int64_t v)
{
	add_be32(b, 8);
	add_be64(b, (uint64_t)v);
}

void array_add_tid(struct buf *b, struct tid v)
{
	add_be32(b, 6);
	add_be32(b, v.block);
	add_be16(b, v.offset);
}

void array_add_text(struct buf *b, const char *text, size_t len)
{
	add_be32(b, (uint32_t)len);
	buf_add(b, text, len);
}

void value_oid(struct buf *b, uint32_t v)
{
	buf_clear(b);
	add_be32(b, v);
}

void value_int8(struct buf *b, int64_t v)
{
	buf_clear(b);
	add_be64(b, (uint64_t)v);
}

static uint64_t read_be(const char *p, int len)
{
	uint64_t v = 0;

	for (int i = 0; i < len; i++)
		v = v << 8 | (unsigned char)p[i];
	return v;
}

bool value_is_null(const struct pg_result *res, int row, int col)
{
	return PQgetisnull(res, row, col);
}

int64_t value_get_int(const struct pg_result *res, int row, int col)
{
	const char *p = PQgetvalue(res, row, col);

	switch (PQgetlength(res, row, col)) {
	case 2:
		return (int16_t)read_be(p, 2);
	case 4:
		return (int32_t)read_be(p, 4);
	case 8:
		return (int64_t)read_be(p, 8);
	default:
		return 0;
	}
}

int64_t value_get_time_us(const struct pg_result *res, int row, int col)
{
	int64_t since_2000 = value_get_int(res, row, col);

	// Infinity is the greatest number or the least one. What the greatest of times exceed by is lost with it.
	if (PQgetlength(res, row, col) != 8 || since_2000 == INT64_MIN ||
	    since_2000 > INT64_MAX - POSTGRES_EPOCH_US)
		return 0;
	return since_2000 + POSTGRES_EPOCH_US;
}

double value_get_real(const struct pg_result *res, int row, int col)
{
	uint64_t bits;
	double v;

	if (PQgetlength(res, row, col) != 8)
		return 0;
	bits = read_be(PQgetvalue(res, row, col), 8);
	memcpy(&v, &bits, sizeof(v));
	return v;
}

bool value_get_bool(const struct pg_result *res, int row, int col)
{
	return PQgetlength(res, row, col) == 1 && PQgetvalue(res, row, col)[0] != 0;
}

struct tid value_get_tid(const struct pg_result *res, int row, int col)
{
	const char *p = PQgetvalue(res, row, col);

	if (PQgetlength(res, row, col) != 6)
		return (struct tid){ 0, 0 };
	return (struct tid){ (uint32_t)read_be(p, 4), (uint16_t)read_be(p + 4, 2) };
}

struct slice value_get_text(const struct pg_result *res, int row, int col)
{
	if (PQgetisnull(res, row, col))
		return (struct slice){ NULL, 0 };
	return (struct slice){ PQgetvalue(res, row, col), (size_t)PQgetlength(res, row, col) };
}
