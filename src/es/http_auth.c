// SPDX-License-Identifier: MIT
#include "http_auth.h"

#include "base/buf.h"
#include "base/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_set(const char *text)
{
	return text && text[0] != '\0';
}

static const char *secret_path(const struct http_settings *s)
{
	if (is_set(s->aws_region))
		return "";
	return is_set(s->api_key_file) ? s->api_key_file : is_set(s->username) ? s->password_file : "";
}

static bool read_secret(struct http_auth *a, struct err *e)
{
	const char *path = secret_path(a->settings);
	char *secret = NULL;
	struct stat st;

	if (!is_set(path))
		return true;
	// Looked at first: a change while we read is seen as a change the next time.
	if (stat(path, &st) != 0)
		return err_set(e, ERR_CONFIG, "cannot read %s: %s", path, strerror(errno));
	if (!config_read_secret(path, &secret, e))
		return false;
	config_secret_free(a->secret);
	a->secret = secret;
	a->read_time = st.st_mtim;
	return true;
}

bool http_auth_init(struct http_auth *a, const struct http_settings *settings, struct err *e)
{
	*a = (struct http_auth){ .settings = settings };
	if (is_set(settings->aws_region) &&
	    (!is_set(getenv("AWS_ACCESS_KEY_ID")) || !is_set(getenv("AWS_SECRET_ACCESS_KEY"))))
		return err_set(
			e, ERR_CONFIG,
			"aws_region needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment");
	return read_secret(a, e);
}

void http_auth_done(struct http_auth *a)
{
	config_secret_free(a->secret);
	a->secret = NULL;
}

void http_auth_suspect(struct http_auth *a)
{
	a->suspect = true;
}

bool http_auth_signs_body(const struct http_auth *a)
{
	return is_set(a->settings->aws_region);
}

// A file that cannot be read now, or is half written, leaves what we have: the next 401 brings us here again.
static void read_again(struct http_auth *a)
{
	const char *path = secret_path(a->settings);
	struct stat st;

	a->suspect = false;
	if (!is_set(path) || stat(path, &st) != 0)
		return;
	if (st.st_mtim.tv_sec != a->read_time.tv_sec || st.st_mtim.tv_nsec != a->read_time.tv_nsec)
		(void)read_secret(a, NULL);
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
	explicit_bzero(line.data, line.len);
}

static void apply_aws(const struct http_auth *a, CURL *easy, struct curl_slist **headers)
{
	const char *key = getenv("AWS_ACCESS_KEY_ID");
	const char *secret = getenv("AWS_SECRET_ACCESS_KEY");
	const char *token = getenv("AWS_SESSION_TOKEN");
	auto_buf signer;

	buf_init(&signer, LINE_BYTES_MAX);
	buf_addf(&signer, "aws:amz:%s:es", a->settings->aws_region);
	if (curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, buf_str(&signer)) != CURLE_OK)
		abort(); // no memory
	set_user(easy, key ? key : "", secret ? secret : "");
	if (is_set(token))
		add_secret_header(headers, "X-Amz-Security-Token: ", token);
}

void http_auth_apply(struct http_auth *a, CURL *easy, struct curl_slist **headers)
{
	const struct http_settings *s = a->settings;

	if (a->suspect)
		read_again(a);
	if (http_auth_signs_body(a))
		apply_aws(a, easy, headers);
	else if (is_set(s->api_key_file) && a->secret)
		add_secret_header(headers, "Authorization: ApiKey ", a->secret);
	else if (is_set(s->username))
		set_user(easy, s->username, a->secret ? a->secret : "");
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
