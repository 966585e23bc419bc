// SPDX-License-Identifier: MIT
#include "http_request.h"

#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	CONNECT_MS_MAX = 10 * 1000,
	UPLOAD_BUFFER_BYTES = 128 * 1024,
	LOW_SPEED_BYTES = 100, // a second
	KEEP_BYTES = 256 * 1024,
	PACKED_BYTES_MAX = 512 * 1024 * 1024,
};

// An option fails only without memory, or with a libcurl that was built without what we ask for.
#define SET(r, option, value)                                               \
	do {                                                                \
		if (curl_easy_setopt((r)->easy, option, value) != CURLE_OK) \
			abort();                                            \
	} while (0)

static bool is_past(int64_t deadline_ms)
{
	return deadline_ms > 0 && clock_boot_ms() >= deadline_ms;
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
	struct http_request *r = arg;

	buf_add(&r->answer, data, size * count);
	return r->answer.full ? 0 : size * count;
}

// Called before the first byte of a request goes out, and again when libcurl sends a request once more by itself
// because a kept connection turned out to be dead.
// NOLINTNEXTLINE(readability-non-const-parameter): libcurl's type
static int on_ready(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	struct http_request *r = arg;

	(void)remote_ip, (void)local_ip, (void)remote_port, (void)local_port;
	if (is_past(r->deadline_ms)) {
		r->deadline_passed = true;
		return CURL_PREREQFUNC_ABORT;
	}
	if (!r->body_streamed)
		r->exposed = true;
	return CURL_PREREQFUNC_OK;
}

static size_t on_read(char *out, size_t size, size_t count, void *arg)
{
	struct http_request *r = arg;
	size_t n = r->body_len - r->body_read;

	if (is_past(r->deadline_ms)) {
		r->deadline_passed = true;
		return CURL_READFUNC_ABORT;
	}
	n = n < size * count ? n : size * count;
	if (n == 0)
		return 0;
	memcpy(out, r->body + r->body_read, n);
	r->body_read += n;
	r->exposed = true;
	return n;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct http_request *r = arg;

	if (origin != SEEK_SET || offset < 0 || (size_t)offset > r->body_len)
		return CURL_SEEKFUNC_FAIL;
	r->body_read = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

// What is the same for all requests of a handle.
static void set_constant(struct http_request *r)
{
	SET(r, CURLOPT_NOSIGNAL, 1L);
	SET(r, CURLOPT_ERRORBUFFER, r->error);
	SET(r, CURLOPT_PRIVATE, r);
	SET(r, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(r, CURLOPT_FOLLOWLOCATION, 0L); // a POST would become a GET, or go to a stranger
	SET(r, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(r, CURLOPT_PIPEWAIT, 0L);
	SET(r, CURLOPT_TCP_NODELAY, 1L);
	SET(r, CURLOPT_TCP_KEEPALIVE, 1L);
	SET(r, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER_BYTES);
	SET(r, CURLOPT_LOW_SPEED_LIMIT, (long)LOW_SPEED_BYTES);
	SET(r, CURLOPT_WRITEFUNCTION, on_write);
	SET(r, CURLOPT_WRITEDATA, r);
	SET(r, CURLOPT_READFUNCTION, on_read);
	SET(r, CURLOPT_READDATA, r);
	SET(r, CURLOPT_SEEKFUNCTION, on_seek);
	SET(r, CURLOPT_SEEKDATA, r);
	SET(r, CURLOPT_PREREQFUNCTION, on_ready);
	SET(r, CURLOPT_PREREQDATA, r);
	if (r->settings->user_agent[0])
		SET(r, CURLOPT_USERAGENT, r->settings->user_agent);
	if (r->settings->direct)
		SET(r, CURLOPT_NOPROXY, "*");
	if (r->gzip)
		SET(r, CURLOPT_ACCEPT_ENCODING, "gzip");
	http_tls_apply(r->tls, r->easy);
}

void http_request_init(struct http_request *r, const struct http_settings *settings, struct http_auth *auth,
		       struct http_tls *tls, struct gzip *gzip)
{
	*r = (struct http_request){
		.easy = curl_easy_init(), .settings = settings, .auth = auth, .tls = tls, .gzip = gzip
	};
	if (!r->easy)
		abort();
	buf_init(&r->packed, PACKED_BYTES_MAX);
	buf_init(&r->answer, settings->answer_max);
	set_constant(r);
}

void http_request_done(struct http_request *r)
{
	curl_easy_cleanup(r->easy);
	http_headers_free(r->headers);
	buf_done(&r->packed);
	buf_done(&r->answer);
}

void http_request_rest(struct http_request *r)
{
	SET(r, CURLOPT_HTTPHEADER, NULL);
	SET(r, CURLOPT_POSTFIELDS, NULL);
	http_headers_free(r->headers);
	r->headers = NULL;
	r->body = NULL;
	buf_trim(&r->packed, KEEP_BYTES);
	buf_trim(&r->answer, KEEP_BYTES);
}

// A server that works long on a request sends as little as one that drips its answer, so slowness is only judged
// after three quarters of the time that the request may take in all.
static void set_times(struct http_request *r, int64_t timeout_ms)
{
	int64_t connect_ms = timeout_ms < CONNECT_MS_MAX ? timeout_ms : CONNECT_MS_MAX;
	int64_t slow_s = timeout_ms * 3 / 4 / 1000;

	assert(timeout_ms > 0);
	SET(r, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	SET(r, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	SET(r, CURLOPT_LOW_SPEED_TIME, slow_s > 0 ? (long)slow_s : 1L);
}

static void begin(struct http_request *r, const char *url, int64_t deadline_ms, int64_t timeout_ms)
{
	http_request_rest(r);
	r->error[0] = '\0';
	r->body_len = 0;
	r->body_read = 0;
	r->body_streamed = false;
	r->deadline_ms = deadline_ms;
	r->deadline_passed = false;
	r->exposed = false;
	r->started_us = clock_boot_us();
	SET(r, CURLOPT_URL, url);
	SET(r, CURLOPT_CUSTOMREQUEST, NULL);
	set_times(r, timeout_ms);
	http_auth_apply(r->auth, r->easy, &r->headers);
}

void http_request_get(struct http_request *r, const char *url, int64_t timeout_ms)
{
	begin(r, url, 0, timeout_ms < r->settings->timeout_ms ? timeout_ms : r->settings->timeout_ms);
	SET(r, CURLOPT_HTTPGET, 1L);
	http_auth_seal(r->auth, "", 0, &r->headers);
	SET(r, CURLOPT_HTTPHEADER, r->headers);
}

void http_request_ask(struct http_request *r, const char *url, const char *method, const char *body,
		      int64_t timeout_ms)
{
	begin(r, url, 0, timeout_ms < r->settings->timeout_ms ? timeout_ms : r->settings->timeout_ms);
	if (body) {
		http_headers_add(&r->headers, "Content-Type: application/json");
		SET(r, CURLOPT_POST, 1L);
		SET(r, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
		SET(r, CURLOPT_POSTFIELDS, body);
	} else {
		SET(r, CURLOPT_HTTPGET, 1L);
	}
	SET(r, CURLOPT_CUSTOMREQUEST, method);
	http_auth_seal(r->auth, body ? body : "", body ? strlen(body) : 0, &r->headers);
	SET(r, CURLOPT_HTTPHEADER, r->headers);
}

// "Expect: 100-continue" costs up to a second where nobody answers it. The empty line switches it off, but libcurl
// 7.88 would sign the line that it does not send, so signed requests just do not wait for the answer.
static void set_expect(struct http_request *r)
{
	if (r->body_streamed)
		http_headers_add(&r->headers, "Expect:");
	else
		SET(r, CURLOPT_EXPECT_100_TIMEOUT_MS, 1L);
}

void http_request_post(struct http_request *r, const char *url, const char *body, size_t len,
		       int64_t deadline_ms, const char *header)
{
	begin(r, url, deadline_ms, r->settings->timeout_ms);
	r->body = body;
	r->body_len = len;
	r->body_streamed = !http_auth_signs_body(r->auth);
	http_headers_add(&r->headers, "Content-Type: application/x-ndjson");
	set_expect(r);
	if (header)
		http_headers_add(&r->headers, header);
	if (r->gzip && gzip_pack(r->gzip, body, len, &r->packed)) {
		r->body = buf_str(&r->packed);
		r->body_len = r->packed.len;
		http_headers_add(&r->headers, "Content-Encoding: gzip");
	}
	SET(r, CURLOPT_POST, 1L);
	SET(r, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
	http_auth_seal(r->auth, r->body, r->body_len, &r->headers);
	if (!r->body_streamed)
		SET(r, CURLOPT_POSTFIELDS, r->body); // also borrowed
	SET(r, CURLOPT_HTTPHEADER, r->headers);
}

bool http_request_expired(const struct http_request *r)
{
	curl_off_t sent = 0;

	if (!is_past(r->deadline_ms))
		return false;
	return curl_easy_getinfo(r->easy, CURLINFO_SIZE_UPLOAD_T, &sent) != CURLE_OK ||
	       (size_t)sent < r->body_len;
}

// In TLS 1.3 the server judges our certificate when the handshake is over for us; what it says then is read like an
// answer, and libcurl calls it a broken connection.
static bool is_refused_in_tls(const struct http_request *r, CURLcode result)
{
	return (result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR) && strstr(r->error, "SSL") &&
	       strstr(r->error, "alert ");
}

static enum http_fault fault_of(const struct http_request *r, CURLcode result)
{
	if (r->deadline_passed)
		return HTTP_TIMED_OUT;
	if (result == CURLE_WRITE_ERROR && r->answer.full)
		return HTTP_TOO_LARGE;
	if (is_refused_in_tls(r, result))
		return HTTP_TLS;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum" // there are a hundred, and new ones in each release
	switch (result) {
	case CURLE_OK:
		return HTTP_FINE;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
		return HTTP_UNREACHABLE;
	case CURLE_OPERATION_TIMEDOUT: // before the request began it was the connection that took too long
		return r->exposed ? HTTP_TIMED_OUT : HTTP_UNREACHABLE;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_ENGINE_NOTFOUND:
	case CURLE_SSL_ENGINE_SETFAILED:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_USE_SSL_FAILED:
	case CURLE_SSL_ENGINE_INITFAILED:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
		return HTTP_TLS;
	default:
		return HTTP_BROKEN;
	}
#pragma GCC diagnostic pop
}

static const char *fault_text(const struct http_request *r, enum http_fault fault, CURLcode result)
{
	if (fault == HTTP_FINE)
		return "";
	if (r->deadline_passed)
		return "the deadline passed before the request was sent";
	if (fault == HTTP_TOO_LARGE)
		return "the answer is too large";
	if (fault == HTTP_TLS && r->tls->pin_missed)
		return "no certificate that the server sent has elasticsearch.fingerprint";
	return r->error[0] ? r->error : curl_easy_strerror(result);
}

// 0 is libcurl's word for no header, and an answer of "0" asks for nothing. A date has been turned into
// seconds from now, which are negative when it has passed.
static int64_t retry_after_ms(const struct http_request *r)
{
	curl_off_t seconds = 0;

	if (curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
		return -1;
	return seconds > INT32_MAX ? (int64_t)INT32_MAX * 1000 : (int64_t)seconds * 1000;
}

void http_request_reply(const struct http_request *r, CURLcode result, struct http_reply *ret)
{
	enum http_fault fault = fault_of(r, result);
	const char *location = NULL;
	long status = 0;

	(void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(r->easy, CURLINFO_REDIRECT_URL, &location);
	*ret = (struct http_reply){
		.fault = fault,
		.fault_text = fault_text(r, fault, result),
		.status = (int)status,
		.body = buf_str(&r->answer),
		.len = r->answer.len,
		.retry_after_ms = retry_after_ms(r),
		.location = location ? location : "",
		.took_us = clock_boot_us() - r->started_us,
		.may_be_applied = r->exposed,
	};
}

void http_request_reply_expired(const struct http_request *r, struct http_reply *ret)
{
	*ret = (struct http_reply){
		.fault = HTTP_TIMED_OUT,
		.fault_text = "the deadline passed before the request was sent",
		.body = "",
		.retry_after_ms = -1,
		.location = "",
		.took_us = clock_boot_us() - r->started_us,
		.may_be_applied = r->exposed,
	};
}
