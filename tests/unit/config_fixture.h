// SPDX-License-Identifier: MIT
// What the tests of the configuration share: the options as rows, the three sources in one line each, and what
// is printed as a text.
#ifndef OUTBOXD_TESTS_CONFIG_FIXTURE_H
#define OUTBOXD_TESTS_CONFIG_FIXTURE_H

#include "base/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct fixture_row {
	const char *section, *key;
	enum option_type type;
	const char *def, *min, *max, *choices;
	int flags;
};
extern const struct fixture_row rows[];
extern const size_t row_count;

// Group setup and teardown: a folder for the files of this run, and the working directory, so that messages
// hold short names. Files: f.conf, secret.
int enter_folder(void **state);
int leave_folder(void **state);

void write_file(const char *path, const char *text, size_t len);
bool read_text(struct config *c, const char *text, struct err *e); // as the file f.conf
bool read_var(struct config *c, const char *variable, struct err *e);
bool set_flag(struct config *c, const char *name, const char *value, struct err *e);
void names_for(size_t i, char flag[64], char env[64]); // of rows[i]

// The caller owns the text.
typedef void print_function(const struct config *c, FILE *out);
char *printed(const struct config *c, print_function *print);
char *printed_page(void (*print)(FILE *out));
// line: "section.key = value  # place\n", as config_print writes it
void assert_line(const struct config *c, const char *line);

#endif
