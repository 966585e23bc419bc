// SPDX-License-Identifier: MIT
// Runs a target over the files of its corpus, in a build without libFuzzer.
#include "fuzz.h"

#include <dirent.h>

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	char *text = NULL;
	size_t size = 0;
	int c;
	FILE *out = open_memstream(&text, &size);

	check(file != NULL && out != NULL);
	while ((c = getc(file)) != EOF)
		putc(c, out);
	fclose(file);
	fclose(out);
	data = malloc(size ? size : 1); // without the NUL byte that open_memstream adds
	check(data != NULL);
	memcpy(data, text, size);
	free(text);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
}

int main(int argc, char **argv)
{
	struct dirent *entry;
	int files = 0;
	DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;

	if (!folder) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 64;
	}
	while ((entry = readdir(folder))) {
		char path[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
		fprintf(stderr, "%s\n", path); // the last one is at fault when this ends early
		run_file(path);
		files++;
	}
	closedir(folder);
	return files ? 0 : 1;
}
