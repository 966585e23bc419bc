// SPDX-License-Identifier: MIT
#include "quote.h"

#include <stdint.h>
#include <string.h>

static bool is_tail(const unsigned char *s, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if ((s[i] & 0xc0) != 0x80)
			return false;
	return true;
}

// The table of well-formed sequences in the Unicode standard: the second byte excludes overlong forms,
// surrogates and what lies above U+10FFFF.
size_t utf8_len(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	if (s[0] < 0x80)
		return 1;
	size_t need = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : s[0] >= 0xe0 && s[0] <= 0xef ? 3 : 4;
	if (s[0] < 0xc2 || s[0] > 0xf4 || need > len || !is_tail(s + 1, need - 1))
		return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return need;
}

static void add_escaped(struct buf *b, unsigned c)
{
	static const char shorts[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };
	if (c == '"' || c == '\\')
		buf_addf(b, "\\%c", (int)c);
	else if (c < sizeof(shorts) && shorts[c])
		buf_addf(b, "\\%c", shorts[c]);
	else
		buf_addf(b, "\\u%04x", c);
}

void quote_add_bare(struct buf *b, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = utf8_len(text + i, len - i);
		unsigned char c = (unsigned char)text[i];
		if (!n)
			buf_adds(b, "\xef\xbf\xbd"); // U+FFFD
		else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
			add_escaped(b, c);
		else if (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0)
			add_escaped(b, (unsigned char)text[i + 1]);
		else
			buf_add(b, text + i, n);
		i += n ? n : 1;
	}
}

void quote_add(struct buf *b, const char *text, size_t len)
{
	buf_addc(b, '"');
	quote_add_bare(b, text, len);
	buf_addc(b, '"');
}
