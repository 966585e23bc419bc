// SPDX-License-Identifier: MIT
#include "es/bulk.h"

#include "core/merge.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Parameters in alphabetical order and percent-encoded to the letter: AWS signs the query in just this form.
// The filter keeps `status`, which every item has, so that no item and no position is filtered away.
void bulk_path(char *out, size_t cap, const char *refresh, int64_t timeout_ms)
{
	static const char filter[] =
		"errors%2Citems.%2A.status%2Citems.%2A.error.type%2Citems.%2A.error.reason";
	bool plain = strcmp(refresh, "false") == 0;
	int n = snprintf(out, cap, "/_bulk?filter_path=%s%s%s&timeout=%" PRId64 "ms", filter,
			 plain ? "" : "&refresh=", plain ? "" : refresh, timeout_ms);

	assert(n > 0 && (size_t)n < cap);
}

// How many bytes of a JSON string a byte needs beyond itself.
static const unsigned char escape_extra[256] = {
	[0x00] = 5, [0x01] = 5, [0x02] = 5, [0x03] = 5, [0x04] = 5, [0x05] = 5, [0x06] = 5,
	[0x07] = 5, [0x08] = 1, [0x09] = 1, [0x0A] = 1, [0x0B] = 5, [0x0C] = 1, [0x0D] = 1,
	[0x0E] = 5, [0x0F] = 5, [0x10] = 5, [0x11] = 5, [0x12] = 5, [0x13] = 5, [0x14] = 5,
	[0x15] = 5, [0x16] = 5, [0x17] = 5, [0x18] = 5, [0x19] = 5, [0x1A] = 5, [0x1B] = 5,
	[0x1C] = 5, [0x1D] = 5, [0x1E] = 5, [0x1F] = 5, ['"'] = 1,  ['\\'] = 1,
};
static const char escape_letter[256] = {
	['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\',
};

static size_t extra_of(struct slice s)
{
	size_t extra = 0;

	for (size_t i = 0; i < s.n; i++)
		extra += escape_extra[(unsigned char)s.p[i]];
	return extra;
}

static char *put(char *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return to + n;
}

#define PUT(to, literal) put(to, "" literal, sizeof(literal) - 1)

static char *put_escaped(char *to, struct slice s)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (escape_extra[c] == 0) {
			*to++ = (char)c;
		} else if (escape_letter[c]) {
			*to++ = '\\';
			*to++ = escape_letter[c];
		} else {
			to = PUT(to, "\\u00");
			*to++ = hex[c >> 4];
			*to++ = hex[c & 15];
		}
	}
	return to;
}

// One member of the action line. `before` is everything up to the text: `,"routing":"`.
struct member {
	struct slice before;
	struct slice text;
	size_t extra;
};

enum { MEMBERS_MAX = 4, VERSION_BYTES_MAX = 64 };

struct line {
	struct member members[MEMBERS_MAX];
	size_t count;
	size_t bytes; // of all members, with their closing quotes
	char version[VERSION_BYTES_MAX];
	size_t version_bytes;
};

#define LITERAL(text) { .p = "" text, .n = sizeof(text) - 1 }
#define SLICE(text) ((struct slice)LITERAL(text))

static void add_member(struct line *line, struct slice before, struct slice text)
{
	struct member *m = &line->members[line->count++];

	*m = (struct member){ .before = before, .text = text, .extra = extra_of(text) };
	line->bytes += before.n + text.n + m->extra + 1;
}

static size_t put_version(char *out, int64_t version)
{
	char digits[20];
	char *p = digits + sizeof(digits);
	char *to = PUT(out, ",\"version\":");

	assert(version >= 0);
	do {
		*--p = (char)('0' + version % 10);
		version /= 10;
	} while (version > 0);
	to = put(to, p, (size_t)(digits + sizeof(digits) - p));
	to = PUT(to, ",\"version_type\":\"external_gte\"");
	return (size_t)(to - out);
}

__attribute__((always_inline)) static inline void make_line(struct line *line, const struct row *row,
							    enum op op, bool tombstone)
{
	static const struct slice starts[] = {
		[OP_INDEX] = LITERAL("{\"index\":{\"_index\":\""),
		[OP_CREATE] = LITERAL("{\"create\":{\"_index\":\""),
		[OP_DELETE] = LITERAL("{\"delete\":{\"_index\":\""),
		[OP_UPDATE] = LITERAL("{\"index\":{\"_index\":\""),
	};

	line->count = 0;
	line->bytes = 0;
	line->version_bytes = 0;
	add_member(line, starts[tombstone && op == OP_DELETE ? OP_INDEX : op], row->index);
	add_member(line, SLICE(",\"_id\":\""), row->document_id);
	if (row->routing.p && row->routing.n > 0)
		add_member(line, SLICE(",\"routing\":\""), row->routing);
	// A pipeline has nothing to do for a delete, and could fail on a tombstone.
	if (op != OP_DELETE && row->pipeline.p && row->pipeline.n > 0)
		add_member(line, SLICE(",\"pipeline\":\""), row->pipeline);
	if (op != OP_CREATE)
		line->version_bytes = put_version(line->version, row->version);
}

__attribute__((always_inline)) static inline char *put_line(char *to, const struct line *line)
{
	for (size_t i = 0; i < line->count; i++) {
		const struct member *m = &line->members[i];

		to = put(to, m->before.p, m->before.n);
		to = m->extra == 0 ? put(to, m->text.p, m->text.n) : put_escaped(to, m->text);
		*to++ = '"';
	}
	to = put(to, line->version, line->version_bytes);
	return PUT(to, "}}\n");
}

// A raw newline would end the line, and with it the request: in valid JSON it can only stand between tokens.
// A carriage return is white space to the server as well and may stay.
__attribute__((always_inline)) static inline char *put_document(char *to, struct slice document)
{
	char *end = put(to, document.p, document.n);

	for (char *p = memchr(to, '\n', document.n); p; p = memchr(p, '\n', (size_t)(end - p)))
		*p++ = ' ';
	*end++ = '\n';
	return end;
}

// `document`.p NULL = it has none. Inlined, for a call more for each event can be measured.
__attribute__((always_inline)) static inline bool append(struct buf *body, const struct line *line,
							 size_t from, size_t to, struct slice document)
{
	size_t bytes = line->bytes + line->version_bytes + strlen("}}\n") + (to - from) +
		       (document.p ? document.n + 1 : 0);
	char *at;

	if (body->full || bytes > body->max - body->len || !buf_reserve(body, bytes))
		return false;
	at = put_line(body->data + body->len, line);
	at = put(at, body->data + from, to - from);
	if (document.p)
		at = put_document(at, document);
	assert(at == body->data + body->len + bytes);
	body->len += bytes;
	*at = '\0';
	return true;
}

bool bulk_append(struct buf *body, const struct row *row, enum op op, bool tombstone)
{
	struct line line;

	make_line(&line, row, op, tombstone);
	return append(body, &line, 0, 0,
		      op != OP_DELETE ? row->document
		      : tombstone     ? SLICE("{\"deleted\":true}")
				      : (struct slice){ NULL, 0 });
}

bool bulk_append_part(struct buf *body, const struct row *row, size_t from, size_t to)
{
	struct line line;

	make_line(&line, row, OP_UPDATE, false);
	return append(body, &line, from, to, row->document);
}

size_t bulk_below_action(const char *event, size_t len)
{
	const char *end = memchr(event, '\n', len);

	return end ? (size_t)(end + 1 - event) : len;
}

// In the order of make_line; a quote within a text is escaped, so these can only be the members.
struct slice bulk_target(struct slice event)
{
	static const char *const after[] = { ",\"pipeline\":\"", ",\"version\":" };
	const char *begin = event.p + strlen("{\"index\":{");
	const char *end = event.p + bulk_below_action(event.p, event.n);

	for (size_t i = 0; i < array_len(after); i++) {
		const char *found = memmem(begin, (size_t)(end - begin), after[i], strlen(after[i]));

		end = found ? found : end;
	}
	return (struct slice){ begin, (size_t)(end - begin) };
}

static struct slice take_line(struct slice *lines)
{
	struct slice line = { lines->p, bulk_below_action(lines->p, lines->n) };

	lines->p += line.n;
	lines->n -= line.n;
	line.n--; // its newline
	return line;
}

bool bulk_merge(struct buf *to, struct slice event, struct slice document, bool based)
{
	size_t head = bulk_below_action(event.p, event.n);
	struct slice lines = { event.p + head, event.n - head }, whole = based ? take_line(&lines) : document;
	struct buf made[2];
	bool ok = true;

	buf_init(&made[0], to->max);
	buf_init(&made[1], to->max);
	for (int i = 0; ok && lines.n > 0; i = !i) {
		buf_clear(&made[i]);
		ok = merge_object(whole, take_line(&lines), &made[i]);
		whole = (struct slice){ made[i].data, made[i].len };
	}
	ok = ok && head + whole.n + 1 <= to->max - to->len;
	if (ok) {
		buf_add(to, event.p, head);
		buf_add(to, whole.p, whole.n);
		buf_addc(to, '\n');
	}
	buf_done(&made[0]);
	buf_done(&made[1]);
	return ok;
}
