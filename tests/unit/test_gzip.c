// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "es/gzip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

enum { TEXT_MAX = 4 * 1024 * 1024 };

static void assert_packs(struct gzip *g, const struct buf *text, struct buf *packed)
{
	z_stream z = { .avail_in = 0 };
	auto_buf plain;

	buf_init(&plain, TEXT_MAX + 1);
	assert_true(gzip_pack(g, buf_str(text), text->len, packed));
	assert_int_equal((unsigned char)packed->data[0], 0x1F);
	assert_int_equal((unsigned char)packed->data[1], 0x8B);
	assert_int_equal(packed->data[packed->len], 0);
	assert_true(buf_reserve(&plain, TEXT_MAX));
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_in = (Bytef *)packed->data;
	z.avail_in = (uInt)packed->len;
	z.next_out = (Bytef *)plain.data;
	z.avail_out = TEXT_MAX;
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	assert_int_equal(z.total_out, text->len);
	assert_memory_equal(plain.data, buf_str(text), text->len);
	assert_int_equal(inflateEnd(&z), Z_OK);
}

static void bodies_come_back_from_one_stream(void **state)
{
	struct gzip *g = gzip_new();
	struct rng rng;
	auto_buf text;
	auto_buf packed;

	(void)state;
	rng_seed(&rng, 3);
	buf_init(&text, TEXT_MAX);
	buf_init(&packed, TEXT_MAX);
	assert_packs(g, &text, &packed); // nothing
	for (int i = 0; i < 20000; i++)
		buf_addf(&text, "{\"index\":{\"_index\":\"products\",\"_id\":\"%d\"}}\n", i);
	assert_packs(g, &text, &packed);
	assert_true(packed.len * 4 < text.len);
	buf_clear(&text);
	for (int i = 0; i < 300000; i++) // does not get smaller: more than one step of output
		buf_addc(&text, (char)rng_next(&rng));
	assert_packs(g, &text, &packed);
	buf_clear(&text);
	buf_addc(&text, 'x');
	assert_packs(g, &text, &packed);
	gzip_free(g);
}

static void too_small_a_maximum_leaves_nothing(void **state)
{
	struct gzip *g = gzip_new();
	struct rng rng;
	auto_buf text;
	auto_buf packed;

	(void)state;
	rng_seed(&rng, 3);
	buf_init(&text, TEXT_MAX);
	for (int i = 0; i < 200000; i++)
		buf_addc(&text, (char)rng_next(&rng));
	for (size_t max = 0; max < 160000; max += 40000) {
		buf_init(&packed, max);
		assert_false(gzip_pack(g, buf_str(&text), text.len, &packed));
		assert_int_equal(packed.len, 0);
		assert_false(packed.full);
		buf_done(&packed);
	}
	buf_init(&packed, TEXT_MAX);
	assert_packs(g, &text, &packed); // the stream is not harmed
	gzip_free(g);
	gzip_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_come_back_from_one_stream),
		cmocka_unit_test(too_small_a_maximum_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
