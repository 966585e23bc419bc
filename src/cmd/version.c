// SPDX-License-Identifier: MIT
// What `outboxd --version` says. A bug report needs the libraries that are there when it runs, not those of the build.
#include "base/buf.h"
#include "cmd/command.h"
#include "es/gzip.h"
#include "es/http.h"
#include "pg/conn.h"
#include "run/admin.h"
#include "run/relay.h"

#include <jansson.h>

enum { LINE_MAX_BYTES = 256 };

static void jansson_add_version(struct buf *out)
{
	buf_addf(out, "jansson %s", jansson_version_str());
}

// Each library is asked by the file that may include it.
static void (*const libraries[])(struct buf *out) = {
	conn_add_version,  http_add_version,  gzip_add_version,
	relay_add_version, admin_add_version, jansson_add_version,
};

void command_print_version(FILE *out, const char *version)
{
	auto_buf line;

	buf_init(&line, LINE_MAX_BYTES);
	fprintf(out, "outboxd %s\n", version);
	for (size_t i = 0; i < array_len(libraries); i++) {
		buf_clear(&line);
		libraries[i](&line);
		fprintf(out, "%s\n", buf_str(&line));
	}
}
