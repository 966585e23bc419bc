// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "es/mget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void note(void *arg, const struct mget_doc *doc)
{
	char *out = arg;
	size_t n = strlen(out);

	snprintf(out + n, 512 - n, "%s %.*s %s %s;", doc->found ? "found" : "none", (int)doc->source.n,
		 doc->source.p ? doc->source.p : "", doc->type, doc->reason);
}

static void an_answer_is_read_whole_or_not_at_all(void **state)
{
	static const struct {
		const char *body;
		size_t expected;
		const char *told; // NULL = refused
	} cases[] = {
		{ "{\"docs\":[]}", 0, "" },
		{ "{\"docs\":[{\"_index\":\"x\",\"_id\":\"1\",\"_version\":3,\"found\":true,\"_source\":{\"a\":19.90, \"b\":[]}}]}",
		  1, "found {\"a\":19.90, \"b\":[]}  ;" },
		{ "{\"took\":1,\"docs\":[{\"_id\":\"1\",\"found\":false},{\"found\":true,\"_id\":\"2\"}]}", 2,
		  "none   ;found   ;" },
		{ "{\"docs\":[{\"_id\":\"1\",\"error\":{\"root_cause\":[{}],\"type\":\"index_not_found_exception\",\"reason\":\"no \\u0061\"}}]}",
		  1, "none  index_not_found_exception no a;" },
		{ "{\"docs\":[{\"error\":{\"type\":\"t\"}}]}", 1, "none  t ;" },
		{ "{\"docs\":[{\"found\":false}]}", 2, NULL },
		{ "{\"docs\":[{\"found\":false},{\"found\":false}]}", 1, NULL },
		{ "{\"docs\":[{\"found\":\"true\"}]}", 1, NULL },
		{ "{\"docs\":[{}]}", 1, NULL },
		{ "{\"docs\":[1]}", 1, NULL },
		{ "{\"docs\":[{\"found\":true,\"_source\":[1]}]}", 1, NULL },
		{ "{\"docs\":[{\"error\":{\"reason\":\"r\"}}]}", 1, NULL },
		{ "{\"docs\":[{\"error\":\"no\"}]}", 1, NULL },
		{ "{\"docs\":[{\"error\":{\"type\":\"\"}}]}", 1, NULL },
		{ "{\"docs\":{}}", 0, NULL },
		{ "{}", 0, NULL },
		{ "", 0, NULL },
		{ "<html>", 1, NULL },
		{ "{\"docs\":[{\"found\":false}]", 1, NULL },
		{ "{\"docs\":[{\"found\":false}]}x", 1, NULL },
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		struct err e = { 0 };
		char told[512] = "";
		bool read = mget_read(cases[i].body, strlen(cases[i].body), cases[i].expected, note, told,
				      &e);

		if (read != (cases[i].told != NULL))
			fail_msg("%s", cases[i].body);
		assert_string_equal(told, cases[i].told ? cases[i].told : "");
		assert_int_equal(e.kind == ERR_NONE, read);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_is_read_whole_or_not_at_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
