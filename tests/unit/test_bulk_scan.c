// SPDX-License-Identifier: MIT
// The scanner against jansson: whatever the scanner accepts, jansson reads the same way.
#include "base/attr.h"
#include "base/clock.h"
#include "es/bulk_scan.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS_MAX = 8 };

// What bulk_scan_clean promises, by way of a tree.
static bool oracle(const char *text, size_t len, size_t expected, unsigned char *statuses)
{
	json_t *root = json_loadb(text, len, 0, NULL);
	json_t *items = json_object_get(root, "items");
	bool good = json_is_false(json_object_get(root, "errors")) && json_is_array(items) &&
		    json_array_size(items) == expected;
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		json_t *result = json_object_iter_value(json_object_iter(item));
		json_t *status = json_object_get(result, "status");

		good = good && json_object_size(item) == 1 && json_is_integer(status) &&
		       json_integer_value(status) >= 200 && json_integer_value(status) <= 299 &&
		       !json_object_get(result, "error");
		if (good)
			statuses[i] = (unsigned char)(json_integer_value(status) - 200);
	}
	json_decref(root);
	return good;
}

// Exactly as long as the text, so that the sanitizer sees a read past its end.
static bool scan(const char *text, size_t len, size_t expected, unsigned char *statuses)
{
	char *exact = malloc(len ? len : 1);
	bool good;

	assert_non_null(exact);
	memcpy(exact, text, len);
	good = bulk_scan_clean(exact, len, expected, statuses);
	free(exact);
	return good;
}

static const struct {
	const char *text;
	size_t items;
} clean[] = {
	{ "{\"errors\":false,\"items\":[]}", 0 },
	{ "{\"errors\":false,\"items\":[{\"index\":{\"status\":201}}]}", 1 },
	{ "{\"errors\":false,\"items\":[{\"index\":{\"status\":201}},{\"index\":{\"status\":201}},{\"index\":{\"status\":"
	  "201}},{\"delete\":{\"status\":200}}]}",
	  4 },
	{ " {\r\n\t\"took\" : 12 , \"items\" : [ { \"create\" : { \"status\" : 299 , \"result\" : \"created\" } } , "
	  "{\"index\":{ \"status\":200}} ] , \"errors\" : false } \n",
	  2 },
	{ "{\"took\":0,\"ingest_took\":-7,\"errors\":false,\"items\":[{\"index\":{\"_index\":\"a\",\"_id\":\"1\","
	  "\"_version\":123456789012345678,\"result\":\"updated\",\"forced_refresh\":true,\"_shards\":{\"total\":2,"
	  "\"successful\":1,\"failed\":0,\"failures\":[]},\"_seq_no\":17,\"_primary_term\":1,\"status\":200,"
	  "\"x\":[null,[false],{}]}}]}",
	  1 },
};

static void clean_answers_are_accepted(void **state)
{
	unsigned char got[ITEMS_MAX];
	unsigned char wanted[ITEMS_MAX];

	(void)state;
	for (size_t i = 0; i < array_len(clean); i++) {
		size_t n = clean[i].items;

		assert_true(oracle(clean[i].text, strlen(clean[i].text), n, wanted));
		assert_true(scan(clean[i].text, strlen(clean[i].text), n, got));
		assert_memory_equal(got, wanted, n);
		assert_false(scan(clean[i].text, strlen(clean[i].text), n + 1, got));
		assert_false(n > 0 && scan(clean[i].text, strlen(clean[i].text), n - 1, got));
	}
}

static void doubtful_answers_are_left_to_the_parser(void **state)
{
	static const char *const answers[] = {
		"{\"errors\":true,\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":404}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201,\"error\":{}}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201,\"status\":400}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":400,\"status\":201}}]}",
		"{\"errors\":false,\"errors\":true,\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201}}],\"items\":[]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201},\"index\":{\"status\":400}}]}",
		"{\"errors\":false,\"err\\u006frs\":true,\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201.0}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201e0}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":0201}}]}",
		"{\"errors\":false,\"took\":1.5,\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":false,\"took\":-,\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":false,\"took\":tru,\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":falsey,\"items\":[{\"index\":{\"status\":201}}]}",
		"{\"errors\":false,\"items\":[{\"index\":{\"status\":201}}]}}",
		"{\"errors\":false,\"a\":[[[[[[[[[[[[]]]]]]]]]]]],\"items\":[{\"index\":{\"status\":201}}]}",
	};
	unsigned char got[ITEMS_MAX];

	(void)state;
	for (size_t i = 0; i < array_len(answers); i++)
		assert_false(scan(answers[i], strlen(answers[i]), 1, got));
}

static size_t mutate(struct rng *rng, char *text, size_t len)
{
	static const char letters[] = "{}[]:,\"\\ \n0129-.e\x01\xC3\x7Ftfn";
	size_t from = len ? (size_t)rng_between(rng, 0, (int64_t)len - 1) : 0;
	size_t n = (size_t)rng_between(rng, 1, 12);
	char letter = letters[rng_next(rng) % sizeof(letters)]; // the NUL as well

	if (n > len - from)
		n = len - from;
	switch (rng_next(rng) % 6) {
	case 0: // another byte
		text[from] = letter;
		return len;
	case 1: // one more
		memmove(text + from + 1, text + from, len - from);
		text[from] = letter;
		return len + 1;
	case 2: // some less
		memmove(text + from, text + from + n, len - from - n);
		return len - n;
	case 3: // some twice
		memmove(text + from + n, text + from, len - from);
		return len + n;
	case 4: // the end is cut
		return from;
	default: // another bit
		text[from] = (char)(text[from] ^ (1 << rng_next(rng) % 8));
		return len;
	}
}

static void mutants_are_read_as_jansson_reads_them(void **state)
{
	size_t accepted = 0;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 20261124);
	for (int round = 0; round < 300000; round++) {
		size_t which = rng_next(&rng) % array_len(clean);
		size_t len = strlen(clean[which].text);
		size_t expected = clean[which].items;
		unsigned char got[ITEMS_MAX];
		unsigned char wanted[ITEMS_MAX];
		char text[2048];

		memcpy(text, clean[which].text, len);
		for (int64_t i = rng_between(&rng, 1, 3); i > 0 && len > 0; i--)
			len = mutate(&rng, text, len);
		if (!scan(text, len, expected, got))
			continue;
		accepted++;
		if (!oracle(text, len, expected, wanted))
			fail_msg("accepted: %.*s", (int)len, text);
		assert_memory_equal(got, wanted, expected);
	}
	assert_true(accepted > 3000); // else this test would say nothing
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean_answers_are_accepted),
		cmocka_unit_test(doubtful_answers_are_left_to_the_parser),
		cmocka_unit_test(mutants_are_read_as_jansson_reads_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
