// SPDX-License-Identifier: MIT
// One line per event on stderr, logfmt or JSON. A line has a fixed event name and typed fields; escaping is
// done here and only here, so nothing that a peer sends can forge a line. No payloads, no secrets, no DSNs.
//
//   log_warn("bulk_retry", kv_int("worker", id), kv_int("rows", n), kv_err(&e));
//   ts=2026-11-24T10:00:00.123Z level=warn event=bulk_retry worker=1 rows=20 error="..."
#ifndef OUTBOXD_BASE_LOG_H
#define OUTBOXD_BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

enum kv_type { KV_END, KV_STR, KV_INT, KV_REAL, KV_BOOL };
struct kv {
	const char *key; // [a-z0-9_]+
	enum kv_type type;
	union {
		const char *str; // borrowed for the call; NULL prints as an empty string
		int64_t num;
		double real;
		bool flag;
	} v;
};

static inline struct kv kv_str(const char *key, const char *v)
{
	return (struct kv){ .key = key, .type = KV_STR, .v.str = v };
}
static inline struct kv kv_int(const char *key, int64_t v)
{
	return (struct kv){ .key = key, .type = KV_INT, .v.num = v };
}
static inline struct kv kv_real(const char *key, double v) // printed with 3 decimals
{
	return (struct kv){ .key = key, .type = KV_REAL, .v.real = v };
}
static inline struct kv kv_bool(const char *key, bool v)
{
	return (struct kv){ .key = key, .type = KV_BOOL, .v.flag = v };
}
static inline struct kv kv_err(const struct err *e)
{
	return kv_str("error", e->text);
}

void log_setup(enum log_format format, enum log_level least);
bool log_enabled(enum log_level level);
// fields ends with a KV_END entry. A write that fails (stderr closed, disk full) is ignored: the daemon goes on.
void log_event(enum log_level level, const char *event, const struct kv *fields);
// The text of a line without time stamp and newline, for tests. Returns the bytes needed; writes at most cap.
size_t log_render(enum log_format format, enum log_level level, const char *event, const struct kv *fields,
		  char *out, size_t cap);

// At least one field each: a line without a number or a name helps nobody.
#define log_debug(event, ...) log_at_(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_at_(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_at_(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_at_(LOG_ERROR, event, __VA_ARGS__)
#define log_at_(level, event, ...)                                                                      \
	do {                                                                                            \
		if (log_enabled(level))                                                                 \
			log_event(level, event,                                                         \
				  (const struct kv[]){ __VA_ARGS__, { .key = NULL, .type = KV_END } }); \
	} while (0)

#endif
