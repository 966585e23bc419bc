// SPDX-License-Identifier: MIT
// Text to numbers, strictly: the whole text must match, overflow is an error, and the error says what is allowed.
#ifndef OUTBOXD_BASE_PARSE_H
#define OUTBOXD_BASE_PARSE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// "250ms" "5s" "10m" "2h" "7d", or "0". A bare number other than 0 is an error: it has no unit. Milliseconds.
bool parse_duration_ms(const char *text, int64_t *ret_ms, struct err *e) must_check;
// "512" "64kB" "1MB" "2GB" (powers of 1024; case of the unit is ignored; "KiB", "MiB", "GiB" too). Bytes.
bool parse_size(const char *text, int64_t *ret_bytes, struct err *e) must_check;
bool parse_int(const char *text, int64_t *ret_value, struct err *e) must_check; // decimal, optional '-'
bool parse_bool(const char *text, bool *ret_value, struct err *e) must_check; // true/false yes/no on/off 1/0
// The SHA-256 of a certificate as Elasticsearch and openssl print it: 64 hexadecimal digits, with or without colons.
bool parse_fingerprint(const char *text, unsigned char ret_sha256[32], struct err *e) must_check;

// The shortest text that the parsers above read back as the same value ("1500ms", "2s", "1MB").
void parse_format_duration(int64_t ms, char out[32]);
void parse_format_size(int64_t bytes, char out[32]);

// Length of the text, or of what fits into max bytes without cutting a character in two.
size_t utf8_cut(const char *text, size_t max);
// Copies as much as fits so.
void utf8_copy(const char *text, char *out, size_t cap);

// Is the word among the names, which commas or blanks are between?
bool list_has(const char *names, const char *word, size_t len);

#endif
