// SPDX-License-Identifier: MIT
#include "base/attr.h"
#include "pg/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void hosts_are_counted_and_rotated(void **state)
{
	static const struct {
		const char *dsn;
		int count, turn;
		const char *rotated;
	} cases[] = {
		{ "dbname=x", 1, 1, "dbname='x' " },
		{ "host=a dbname=x", 1, 5, "dbname='x' host='a' " },
		{ "host=a,b,c port=1,2,3", 3, 0, "host='a,b,c' port='1,2,3' " },
		{ "host=a,b,c port=1,2,3", 3, 1, "host='b,c,a' port='2,3,1' " },
		{ "host=a,b,c port=5432", 3, 2, "host='c,a,b' port='5432' " }, // one port for all
		{ "postgresql://u:p%27w@a:1,b:2/x", 2, 1,
		  "user='u' password='p\\'w' dbname='x' host='b,a' port='2,1' " },
		{ "host=a,b target_session_attrs=read-write", 2, 1,
		  "host='b,a' target_session_attrs='read-write' " },
		{ "no dsn", 1, 1, "no dsn" }, // libpq says what is wrong with it
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		char *rotated = hosts_rotated(cases[i].dsn, cases[i].turn);

		assert_int_equal(hosts_count(cases[i].dsn), cases[i].count);
		assert_string_equal(rotated, cases[i].rotated);
		free(rotated);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(hosts_are_counted_and_rotated) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
