// SPDX-License-Identifier: MIT
// One mistake for each tool of tests/analysis/run, which fails when its tool does not find it. Never built into anything.
#include <stdlib.h>

int for_gcc(int n);
size_t for_clang_tidy(const int *rows);
int for_cppcheck(void);

int for_gcc(int n)
{
	int *p = malloc(sizeof(*p));

	if (!p)
		return 0;
	*p = n;
	free(p);
	return *p; // used after it was freed
}

size_t for_clang_tidy(const int *rows)
{
	return sizeof(rows) / sizeof(rows[0]); // the pointer's size
}

int for_cppcheck(void)
{
	int row[4] = { 0, 1, 2, 3 };

	return row[4]; // behind its end
}
