// SPDX-License-Identifier: MIT
// Compiler attributes used everywhere, so that contracts are checked and not only written.
#ifndef OUTBOXD_BASE_ATTR_H
#define OUTBOXD_BASE_ATTR_H

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define returns_nonnull_ __attribute__((returns_nonnull))

#define array_len(a) (sizeof(a) / sizeof((a)[0]))

#endif
