// SPDX-License-Identifier: MIT
// A quoted logfmt value is written exactly like a JSON string, so one escaping serves both formats.
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "quote.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	VALUE_MAX = 1000, // bytes of one value before escaping
	LINE_MAX_BYTES = 16384,
	LINE_TAIL = 64, // kept free for the note about dropped fields, and the end of the line
};

static const char *const level_names[] = { "debug", "info", "warn", "error" };

// The one global of the program: every part logs, and passing this to all of them would hide what matters.
static struct {
	enum log_format format;
	enum log_level least;
} settings = { LOG_LOGFMT, LOG_INFO };

void log_setup(enum log_format format, enum log_level least)
{
	settings.format = format;
	settings.least = least;
}

bool log_enabled(enum log_level level)
{
	return level >= settings.least;
}

// Keys and events come from our own source, so they need no escaping - as long as this holds.
static bool is_name(const char *text)
{
	return *text && !text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

// Where to cut a long value: not inside a UTF-8 sequence, or the cut itself would make an invalid byte.
static size_t cut_at(const char *text, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)text[len - back];
		if (c < 0x80)
			break;
		if (c >= 0xc0)
			return utf8_len(text + len - back, back) ? len : len - back;
	}
	return len;
}

static bool needs_quotes(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c <= ' ' || c == '=' || c == '"' || c == 0x7f || c == 0xc2)
			return true; // 0xc2 may start a C1 control character
	}
	return !len;
}

static void add_text(struct buf *b, enum log_format format, const char *text)
{
	size_t len = strnlen(text, VALUE_MAX + 1);
	bool cut = len > VALUE_MAX;
	if (cut)
		len = cut_at(text, VALUE_MAX);

	bool quotes = format == LOG_JSON || needs_quotes(text, len);
	if (quotes)
		buf_addc(b, '"');
	quote_add_bare(b, text, len);
	if (cut)
		buf_adds(b, "...");
	if (quotes)
		buf_addc(b, '"');
}

static void add_value(struct buf *b, enum log_format format, const struct kv *field)
{
	switch (field->type) {
	case KV_STR:
		add_text(b, format, field->v.str ? field->v.str : "");
		break;
	case KV_INT:
		buf_addf(b, "%" PRId64, field->v.num);
		break;
	case KV_REAL:
		if (format == LOG_JSON && !isfinite(field->v.real))
			buf_adds(b, "null"); // JSON has no other word for it
		else
			buf_addf(b, "%.3f", field->v.real);
		break;
	case KV_BOOL:
		buf_adds(b, field->v.flag ? "true" : "false");
		break;
	case KV_END:
		assert(false && "a field has a value");
	}
}

// All or nothing: half a field would break JSON. False when the line has no room for it.
static bool add_field(struct buf *b, enum log_format format, const struct kv *field)
{
	assert(is_name(field->key));
	size_t start = b->len;
	if (format == LOG_JSON)
		buf_addf(b, "%s\"%s\":", b->len ? "," : "{", field->key);
	else
		buf_addf(b, "%s%s=", b->len ? " " : "", field->key);
	add_value(b, format, field);
	if (!b->full)
		return true;
	buf_truncate(b, start);
	b->full = false;
	return false;
}

static void render(struct buf *b, enum log_format format, const char *ts, enum log_level level,
		   const char *event, const struct kv *fields)
{
	assert(is_name(event));
	b->max = LINE_MAX_BYTES - LINE_TAIL;
	if (ts)
		(void)add_field(b, format, &(struct kv){ .key = "ts", .type = KV_STR, .v.str = ts });
	(void)add_field(b, format,
			&(struct kv){ .key = "level", .type = KV_STR, .v.str = level_names[level] });
	(void)add_field(b, format, &(struct kv){ .key = "event", .type = KV_STR, .v.str = event });
	int64_t dropped = 0;
	for (const struct kv *field = fields; field->type != KV_END; field++)
		dropped += !add_field(b, format, field);

	b->max = LINE_MAX_BYTES;
	if (dropped)
		(void)add_field(b, format,
				&(struct kv){ .key = "dropped_fields", .type = KV_INT, .v.num = dropped });
	if (format == LOG_JSON)
		buf_addc(b, '}');
}

size_t log_render(enum log_format format, enum log_level level, const char *event, const struct kv *fields,
		  char *out, size_t cap)
{
	auto_buf line;
	buf_init(&line, LINE_MAX_BYTES);
	render(&line, format, NULL, level, event, fields);
	return (size_t)snprintf(out, cap, "%s", buf_str(&line));
}

static void format_time(int64_t us, char out[32])
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 32 - n, ".%03dZ", (int)(us / 1000 % 1000));
}

void log_event(enum log_level level, const char *event, const struct kv *fields)
{
	int saved_errno = errno; // so that a log line between a failure and its report changes nothing
	char ts[32];
	format_time(clock_wall_us(), ts);
	auto_buf line;
	buf_init(&line, LINE_MAX_BYTES);
	render(&line, settings.format, ts, level, event, fields);
	buf_addc(&line, '\n');

	ssize_t written;
	do
		written = write(STDERR_FILENO, line.data, line.len);
	while (written < 0 && errno == EINTR);
	errno = saved_errno;
}
