// SPDX-License-Identifier: MIT
// A pinned certificate takes the place of the CAs: it is looked for in what the server sends, and everything else
// (signatures, validity, purpose, host name) is verified from there as usual. libcurl's own pin
// (CURLOPT_PINNEDPUBLICKEY) is another thing: the hash of the leaf's key, which no server prints, which ends with the
// next certificate, and which would still need a CA.
#include "http_tls.h"

#include "base/parse.h"

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

// An option fails only without memory, or with a libcurl that was built without what we ask for.
#define SET(easy, option, value)                                       \
	do {                                                           \
		if (curl_easy_setopt(easy, option, value) != CURLE_OK) \
			abort();                                       \
	} while (0)

static bool is_set(const char *text)
{
	return text && text[0] != '\0';
}

// Certificates are handed to our OpenSSL by libcurl's: they must be one.
static bool curl_speaks_openssl(void)
{
	const char *backend = curl_version_info(CURLVERSION_NOW)->ssl_version;

	return backend && strncmp(backend, "OpenSSL/3", strlen("OpenSSL/3")) == 0 &&
	       OPENSSL_VERSION_MAJOR == 3;
}

bool http_tls_init(struct http_tls *t, const struct http_settings *settings, struct err *e)
{
	*t = (struct http_tls){ .settings = settings };
	if (!is_set(settings->fingerprint))
		return true;
	if (!curl_speaks_openssl())
		return err_set(
			e, ERR_CONFIG,
			"elasticsearch.fingerprint needs a libcurl with OpenSSL 3; use elasticsearch.ca_file");
	return parse_fingerprint(settings->fingerprint, t->fingerprint, e) ||
	       (err_prefix(e, "elasticsearch.fingerprint"), e->kind = ERR_CONFIG, false);
}

static X509 *find_pinned(const struct http_tls *t, const STACK_OF(X509) * sent)
{
	for (int i = 0; i < sk_X509_num(sent); i++) {
		X509 *certificate = sk_X509_value(sent, i);
		unsigned char sum[EVP_MAX_MD_SIZE];
		unsigned len = 0;

		if (X509_digest(certificate, EVP_sha256(), sum, &len) == 1 && len == sizeof(t->fingerprint) &&
		    memcmp(sum, t->fingerprint, len) == 0)
			return certificate;
	}
	return NULL;
}

// In place of OpenSSL's own verification; the host name is libcurl's part.
static int verify(X509_STORE_CTX *ctx, void *arg)
{
	struct http_tls *t = arg;
	X509 *pinned = find_pinned(t, X509_STORE_CTX_get0_untrusted(ctx)); // the leaf too
	STACK_OF(X509) * trusted;
	int ok;

	t->pin_missed = !pinned;
	if (!pinned) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_UNTRUSTED);
		return 0;
	}
	trusted = sk_X509_new_null();
	if (!trusted || sk_X509_push(trusted, pinned) == 0)
		abort(); // no memory
	X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN); // the pinned one need not be a root
	ok = X509_verify_cert(ctx);
	X509_STORE_CTX_set0_trusted_stack(ctx, NULL);
	sk_X509_free(trusted);
	return ok;
}

static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *arg)
{
	(void)easy;
	SSL_CTX_set_cert_verify_callback(ssl_ctx, verify, arg);
	return CURLE_OK;
}

void http_tls_apply(struct http_tls *t, CURL *easy)
{
	const struct http_settings *s = t->settings;

	// The defaults, said all the same: nothing else switches them off.
	SET(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	SET(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	// Else a CA file that changes is not seen for a day.
	SET(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	if (is_set(s->ca_file))
		SET(easy, CURLOPT_CAINFO, s->ca_file);
	if (is_set(s->cert_file))
		SET(easy, CURLOPT_SSLCERT, s->cert_file);
	if (is_set(s->key_file))
		SET(easy, CURLOPT_SSLKEY, s->key_file);
	if (is_set(s->fingerprint)) {
		SET(easy, CURLOPT_CAINFO, NULL); // nor need there be any
		SET(easy, CURLOPT_CAPATH, NULL);
		SET(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
		SET(easy, CURLOPT_SSL_CTX_DATA, t);
	}
}
