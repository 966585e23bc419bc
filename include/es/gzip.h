// SPDX-License-Identifier: MIT
// gzip for request bodies. The stream (some 260 kB) is made once and used again for every body.
#ifndef OUTBOXD_ES_GZIP_H
#define OUTBOXD_ES_GZIP_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct gzip;

struct gzip *gzip_new(void);
void gzip_free(struct gzip *g); // NULL is fine

// out = data in gzip format; what out held before is gone. False when it does not fit into out's maximum,
// with out empty: then the data has to go as it is.
bool gzip_pack(struct gzip *g, const char *data, size_t len, struct buf *out) must_check;

void gzip_add_version(struct buf *out); // "zlib 1.2.13"

#endif
