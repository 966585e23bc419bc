// SPDX-License-Identifier: MIT
// The life of a call:
//
//   IDLE --post, get--> RUNNING --libcurl is done, or the deadline passed--> FINISHED --callback--> IDLE
//     \--post after its deadline--> LATE --next turn of the loop--> FINISHED
//
// libcurl calls us (sockets, timer) and must not be called back from there; users are called only by deliver(),
// when libcurl has nothing more to say. They may start and cancel requests, so deliver() begins its search
// anew after each callback; calls are as few as workers.
#include "es/http.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "es/gzip.h"
#include "http_request.h"
#include "wiping.h"

#include <curl/curl.h>
#include <ev.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum call_state { CALL_IDLE, CALL_RUNNING, CALL_LATE, CALL_FINISHED };

struct http_call {
	LIST_ENTRY(http_call) link;
	struct http *http;
	enum call_state state;
	http_callback *cb;
	void *arg;
	struct http_request request;
	struct http_reply reply; // of a finished request
};

struct http {
	struct ev_loop *loop;
	CURLM *multi;
	ev_timer timer; // libcurl's
	ev_timer soon;  // one turn of the loop for LATE calls
	LIST_HEAD(, http_call) calls;
	const struct http_call *delivering; // its callback is running
	struct http_settings settings;
	struct http_auth auth;
	struct http_tls tls;
	struct gzip *gzip;
	char *base; // the URL without a slash at its end
};

// libcurl's socket, for as long as libcurl wants to hear of it.
struct http_socket {
	ev_io io;
	struct http *http;
};

const char *http_fault_name(enum http_fault fault)
{
	switch (fault) {
	case HTTP_FINE:
		return "fine";
	case HTTP_UNREACHABLE:
		return "unreachable";
	case HTTP_BROKEN:
		return "broken";
	case HTTP_TIMED_OUT:
		return "timed_out";
	case HTTP_TLS:
		return "tls";
	case HTTP_TOO_LARGE:
		return "too_large";
	}
	return "?";
}

static void must(CURLMcode rc)
{
	if (rc != CURLM_OK)
		abort(); // no memory, or a mistake of ours
}

static void take_back(struct http_call *c)
{
	must(curl_multi_remove_handle(c->http->multi, c->request.easy));
}

// A process that was frozen, or a server that does not read: what the kernel does not have by now is not sent.
static void expire(struct http *h)
{
	struct http_call *c;

	LIST_FOREACH(c, &h->calls, link)
	{
		if (c->state != CALL_RUNNING || !http_request_expired(&c->request))
			continue;
		take_back(c);
		http_request_reply_expired(&c->request, &c->reply);
		c->state = CALL_FINISHED;
	}
}

static struct http_call *call_of(CURL *easy)
{
	char *request = NULL;

	(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &request);
	assert(request);
	return (struct http_call *)(void *)(request - offsetof(struct http_call, request));
}

static void collect(struct http *h)
{
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(h->multi, &left))) {
		struct http_call *c = call_of(message->easy_handle);
		CURLcode result = message->data.result; // the message dies with the next line

		take_back(c);
		http_request_reply(&c->request, result, &c->reply);
		c->state = CALL_FINISHED;
	}
}

static struct http_call *find_finished(const struct http *h)
{
	struct http_call *c;

	LIST_FOREACH(c, &h->calls, link)
	{
		if (c->state == CALL_FINISHED)
			return c;
	}
	return NULL;
}

static void deliver(struct http *h)
{
	struct http_call *c;

	while ((c = find_finished(h))) {
		struct http_reply reply = c->reply;

		c->state = CALL_IDLE;
		h->delivering = c;
		c->cb(c->arg, &reply);
		h->delivering = NULL;
		if (c->state == CALL_IDLE)
			http_request_rest(&c->request);
	}
}

static void advance(struct http *h, curl_socket_t fd, int events)
{
	int running;

	expire(h);
	must(curl_multi_socket_action(h->multi, fd, events, &running));
	collect(h);
	deliver(h);
}

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct http_socket *s = io->data;
	int events = ((revents & EV_READ) ? CURL_CSELECT_IN : 0) |
		     ((revents & EV_WRITE) ? CURL_CSELECT_OUT : 0);

	(void)loop;
	advance(s->http, io->fd, events); // may free s
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)revents;
	advance(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_soon(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct http *h = timer->data;
	struct http_call *c;

	(void)loop, (void)revents;
	LIST_FOREACH(c, &h->calls, link)
	{
		if (c->state == CALL_LATE)
			c->state = CALL_FINISHED;
	}
	deliver(h);
}

static int socket_changed(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http *h = arg;
	struct http_socket *s = socket_arg;
	int events = ((what & CURL_POLL_IN) ? EV_READ : 0) | ((what & CURL_POLL_OUT) ? EV_WRITE : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s)
			ev_io_stop(h->loop, &s->io);
		free(s);
		return 0;
	}
	if (!s) {
		s = mem_calloc(1, sizeof(*s));
		s->http = h;
		ev_init(&s->io, on_io);
		s->io.data = s;
		must(curl_multi_assign(h->multi, fd, s));
	}
	ev_io_stop(h->loop, &s->io);
	ev_io_set(&s->io, fd, events);
	ev_io_start(h->loop, &s->io);
	return 0;
}

// The loop's idea of now is as old as the last wait: counted from there, a timer after long work would fire
// before libcurl has anything to do, and again, and again.
static int timer_changed(CURLM *multi, long timeout_ms, void *arg)
{
	struct http *h = arg;

	(void)multi;
	ev_timer_stop(h->loop, &h->timer);
	if (timeout_ms < 0)
		return 0;
	if (timeout_ms > 0)
		ev_now_update(h->loop);
	ev_timer_set(&h->timer, (double)timeout_ms / 1000.0, 0.0);
	ev_timer_start(h->loop, &h->timer);
	return 0;
}

static bool has_part(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	bool found = curl_url_get(url, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return found;
}

// The message never holds the URL: it could be the one with a password in it.
static bool check_url(const char *text, struct err *e)
{
	CURLU *url = curl_url();
	char *scheme = NULL;
	bool good;

	if (!url)
		abort(); // no memory
	good = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
	       curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	       (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
	       !has_part(url, CURLUPART_USER) && !has_part(url, CURLUPART_PASSWORD) &&
	       !has_part(url, CURLUPART_QUERY) && !has_part(url, CURLUPART_FRAGMENT);
	curl_free(scheme);
	curl_url_cleanup(url);
	return good || err_set(e, ERR_CONFIG,
			       "the Elasticsearch URL must look like https://host:9200/path, without user, "
			       "password and query");
}

static void make_multi(struct http *h)
{
	h->multi = curl_multi_init();
	if (!h->multi)
		abort(); // no memory
	must(curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING));
	must(curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, socket_changed));
	must(curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h));
	must(curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, timer_changed));
	must(curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h));
}

struct http *http_new(struct ev_loop *loop, const struct http_settings *settings, struct err *e)
{
	struct http *h;
	size_t n = strlen(settings->url);

	if (!check_url(settings->url, e))
		return NULL;
	wiping_start();
	h = mem_calloc(1, sizeof(*h));
	h->loop = loop;
	h->settings = *settings;
	LIST_INIT(&h->calls);
	ev_init(&h->timer, on_timer);
	h->timer.data = h;
	ev_init(&h->soon, on_soon);
	h->soon.data = h;
	while (n > 0 && settings->url[n - 1] == '/')
		n--;
	h->base = mem_strndup(settings->url, n);
	if (settings->gzip)
		h->gzip = gzip_new();
	make_multi(h);
	if (!http_tls_init(&h->tls, &h->settings, e) || !http_auth_init(&h->auth, &h->settings, e)) {
		http_free(h);
		return NULL;
	}
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	assert(LIST_EMPTY(&h->calls));
	must(curl_multi_cleanup(h->multi)); // closes the kept connections; may still call socket_changed
	ev_timer_stop(h->loop, &h->timer);
	ev_timer_stop(h->loop, &h->soon);
	http_auth_done(&h->auth);
	gzip_free(h->gzip);
	free(h->base);
	free(h);
	curl_global_cleanup();
}

struct http_call *http_call_new(struct http *h, http_callback *cb, void *arg)
{
	struct http_call *c = mem_calloc(1, sizeof(*c));

	c->http = h;
	c->cb = cb;
	c->arg = arg;
	http_request_init(&c->request, &h->settings, &h->auth, &h->tls, h->gzip);
	LIST_INSERT_HEAD(&h->calls, c, link);
	return c;
}

void http_call_free(struct http_call *c)
{
	if (!c)
		return;
	assert(c != c->http->delivering);
	http_call_cancel(c);
	LIST_REMOVE(c, link);
	http_request_done(&c->request);
	free(c);
}

static char *url_of(const struct http_call *c, const char *path)
{
	auto_buf url;

	assert(path[0] == '/');
	buf_init(&url, 64 * 1024);
	buf_adds(&url, c->http->base);
	buf_adds(&url, path);
	return buf_take(&url);
}

static void start(struct http_call *c)
{
	must(curl_multi_add_handle(c->http->multi, c->request.easy));
	c->state = CALL_RUNNING;
}

void http_call_post(struct http_call *c, const char *path, const char *body, size_t len,
		    int64_t deadline_boot_ms, const char *header)
{
	auto_free char *url = url_of(c, path);

	assert(c->state == CALL_IDLE);
	http_request_post(&c->request, url, body, len, deadline_boot_ms, header);
	if (deadline_boot_ms == 0 || clock_boot_ms() < deadline_boot_ms) {
		start(c);
		return;
	}
	http_request_reply_expired(&c->request, &c->reply);
	c->state = CALL_LATE;
	ev_timer_stop(c->http->loop, &c->http->soon);
	ev_timer_set(&c->http->soon, 0.0, 0.0);
	ev_timer_start(c->http->loop, &c->http->soon);
}

void http_call_get(struct http_call *c, const char *path, int64_t timeout_ms)
{
	auto_free char *url = url_of(c, path);

	assert(c->state == CALL_IDLE);
	http_request_get(&c->request, url, timeout_ms);
	start(c);
}

void http_call_ask(struct http_call *c, const char *method, const char *path, const char *body,
		   int64_t timeout_ms)
{
	auto_free char *url = url_of(c, path);

	assert(c->state == CALL_IDLE);
	http_request_ask(&c->request, url, method, body, timeout_ms);
	start(c);
}

void http_call_cancel(struct http_call *c)
{
	if (c->state == CALL_IDLE)
		return; // perhaps within its callback, which still reads the reply
	if (c->state == CALL_RUNNING)
		take_back(c);
	c->state = CALL_IDLE;
	http_request_rest(&c->request);
}

bool http_call_busy(const struct http_call *c)
{
	return c->state != CALL_IDLE;
}

void http_add_version(struct buf *out)
{
	const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

	buf_addf(out, "libcurl %s (%s)", info->version, info->ssl_version ? info->ssl_version : "no TLS");
}
