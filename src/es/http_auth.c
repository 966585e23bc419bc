// SPDX-License-Identifier: MIT
#include "http_auth.h"

#include "base/buf.h"
#include "base/config.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static bool is_set(const char *text)
{
	return text && text[0] != '\0';
}

static enum auth_kind kind_of(const struct http_settings *s)
{
	if (is_set(s->aws_region))
		return AUTH_AWS;
	if (is_set(s->api_key_file))
		return AUTH_API_KEY;
	if (is_set(s->bearer_file))
		return AUTH_BEARER;
	return is_set(s->username) ? AUTH_BASIC : AUTH_NONE;
}

bool http_auth_init(struct http_auth *a, const struct http_settings *s, struct err *e)
{
	const char *const files[] = {
		[AUTH_BASIC] = s->password_file,
		[AUTH_API_KEY] = s->api_key_file,
		[AUTH_BEARER] = s->bearer_file,
		[AUTH_AWS] = s->aws_credentials_file,
	};
	enum auth_kind kind = kind_of(s);

	*a = (struct http_auth){ .settings = s, .kind = kind };
	if (kind == AUTH_NONE || (kind == AUTH_BASIC && !is_set(s->password_file)))
		return true;
	return credential_open(&a->credential, files[kind] ? files[kind] : "", kind == AUTH_AWS, e);
}

void http_auth_done(struct http_auth *a)
{
	credential_close(&a->credential);
}

bool http_auth_signs_body(const struct http_auth *a)
{
	return a->kind == AUTH_AWS;
}

static void set_user(CURL *easy, const char *user, const char *password)
{
	CURLcode rc = curl_easy_setopt(easy, CURLOPT_USERNAME, user);

	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_PASSWORD, password);
	if (rc != CURLE_OK)
		abort(); // no memory
}

enum { LINE_BYTES_MAX = 128 * 1024 }; // a secret file has at most half of that

static void add_secret_header(struct curl_slist **headers, const char *name, const char *secret)
{
	auto_buf line;

	buf_init(&line, LINE_BYTES_MAX);
	if (!buf_reserve(&line, strlen(name) + strlen(secret))) // all at once: no copies stay behind
		return;
	buf_adds(&line, name);
	buf_adds(&line, secret);
	http_headers_add(headers, buf_str(&line));
	buf_wipe(&line);
}

// Ours, and not made by libcurl, which would keep the password and the line for as long as the handle lives.
static void add_basic(struct curl_slist **headers, const char *user, const char *password)
{
	auto_buf pair;
	char *text;

	buf_init(&pair, LINE_BYTES_MAX / 4 * 3);
	if (!buf_reserve(&pair, strlen(user) + 1 + strlen(password)))
		return;
	buf_addf(&pair, "%s:%s", user, password);
	text = mem_calloc(LINE_BYTES_MAX + 1, 1);
	(void)EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)buf_str(&pair), (int)pair.len);
	add_secret_header(headers, "Authorization: Basic ", text);
	buf_wipe(&pair);
	config_secret_free(text);
}

static void apply_aws(const struct http_auth *a, CURL *easy, struct curl_slist **headers)
{
	const struct credential *c = &a->credential;
	auto_buf signer;

	buf_init(&signer, LINE_BYTES_MAX);
	buf_addf(&signer, "aws:amz:%s:%s", a->settings->aws_region,
		 a->settings->aws_serverless ? "aoss" : "es");
	if (curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, buf_str(&signer)) != CURLE_OK)
		abort(); // no memory
	set_user(easy, c->id, c->secret);
	if (c->session_token)
		add_secret_header(headers, "X-Amz-Security-Token: ", c->session_token);
}

void http_auth_apply(struct http_auth *a, CURL *easy, struct curl_slist **headers)
{
	const char *secret;

	credential_refresh(&a->credential);
	secret = a->credential.secret;
	switch (a->kind) {
	case AUTH_NONE:
		break;
	case AUTH_BASIC:
		add_basic(headers, a->settings->username, secret ? secret : "");
		break;
	case AUTH_API_KEY:
		add_secret_header(headers, "Authorization: ApiKey ", secret);
		break;
	case AUTH_BEARER:
		add_secret_header(headers, "Authorization: Bearer ", secret);
		break;
	case AUTH_AWS:
		apply_aws(a, easy, headers);
		break;
	}
}

// OpenSearch Serverless wants to see the hash that is signed; libcurl signs the header like any other.
void http_auth_seal(const struct http_auth *a, const char *body, size_t len, struct curl_slist **headers)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	auto_buf line;

	buf_init(&line, LINE_BYTES_MAX);
	if (a->kind != AUTH_AWS || !a->settings->aws_serverless)
		return;
	if (EVP_Digest(body, len, sum, NULL, EVP_sha256(), NULL) != 1)
		abort(); // no memory
	buf_adds(&line, "X-Amz-Content-Sha256: ");
	for (size_t i = 0; i < 32; i++)
		buf_addf(&line, "%02x", sum[i]);
	http_headers_add(headers, buf_str(&line));
}

void http_headers_add(struct curl_slist **headers, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*headers, line);

	if (!longer)
		abort(); // no memory
	*headers = longer;
}

void http_headers_free(struct curl_slist *headers)
{
	for (struct curl_slist *h = headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(headers);
}
