// SPDX-License-Identifier: MIT
// A part merged into a document, as Elasticsearch merges the `doc` of an update: where both have an object it is merged, everything
// else is replaced, null and arrays too, and what is new comes at the end. Keys and values keep their bytes.
#ifndef OUTBOXD_CORE_MERGE_H
#define OUTBOXD_CORE_MERGE_H

#include "base/buf.h"
#include "core/row.h"

#include <stdbool.h>

// Appends the document to `out`, in one line. base.p NULL = there is none: it becomes the part. Of a key that an object has twice the
// first one counts; whoever reads it may refuse that. False, and nothing is appended: one of them is no valid JSON object, or `out` is
// full.
bool merge_object(struct slice base, struct slice part, struct buf *out) must_check;

#endif
