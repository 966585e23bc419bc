// SPDX-License-Identifier: MIT
// One mistake for each tool of tests/analysis/run, which fails when its tool does not find it. Never built into anything.
#include <stdlib.h>
#include <string.h>

int for_gcc(int n);
char *for_clang_tidy(const char *text);
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

char *for_clang_tidy(const char *text)
{
	char *copy = malloc(strlen(text)); // no room for the NUL

	if (copy)
		memcpy(copy, text, sizeof(copy)); // the pointer's size
	return copy;
}

int for_cppcheck(void)
{
	int row[4] = { 0, 1, 2, 3 };

	return row[4]; // behind its end
}
