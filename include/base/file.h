// SPDX-License-Identifier: MIT
#ifndef OUTBOXD_BASE_FILE_H
#define OUTBOXD_BASE_FILE_H

#include "base/err.h"

#include <stddef.h>

// Reads a whole file of at most max bytes into out, which has room for them and a NUL byte behind them.
bool file_read(const char *path, char *out, size_t max, size_t *ret_len, struct err *e) must_check;
// The same for what a daemon reads while it runs: a pipe or a device, which could hold it up, is refused.
bool file_read_regular(const char *path, char *out, size_t max, size_t *ret_len, struct err *e) must_check;

#endif
