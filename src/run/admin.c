// SPDX-License-Identifier: MIT
// The mechanics of HTTP: who may ask, how long, how much. What is answered is in answers.c.
#include "run/admin.h"

#include "base/log.h"
#include "base/mem.h"
#include "core/guard.h"
#include "run/answers.h"
#include "run/listen.h"
#include "run/page.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 32
// Of them at most, from the question to PostgreSQL until the last byte of its answer was read: however slow the clients are,
// all answers together hold no more than PLACES * TABLE_ANSWER_MAX + CLIENTS_MAX * ANSWER_MAX = 16 MB.
#define PLACES 8
#define HEADER_MAX ((size_t)16 * 1024)
#define ANSWER_MAX ((size_t)256 * 1024)
#define TABLE_ANSWER_MAX ((size_t)1024 * 1024)
#define SILENT_MAX_S 10u
#define REQUEST_MAX_MS \
	15000 // from its connection or the answer before it to its own end, however it is dribbled
#define ANSWER_TOO_LARGE "the answer would be too large: ask for less"

// A connection.
struct client {
	struct MHD_Connection *connection;
	int64_t since_ms;
	bool waits; // for the table: not its own slowness
	struct client *next;
};

struct request {
	struct exchange x; // first
	struct admin *admin;
	struct MHD_Connection *connection;
	bool begun, suspended, too_large, placed;
	const char *allowed; // method of the path
	struct request *next;
};

struct admin {
	struct relay *relay;
	struct MHD_Daemon *daemon;
	ev_io io;
	ev_timer timer; // when libmicrohttpd wants to be run
	ev_timer sweep;
	struct client *clients;
	struct request *requests;
	int placed;
	bool closing;
	bool token_unreadable; // and that was said
};

static void run(struct admin *a)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	(void)MHD_run(a->daemon);
	ev_timer_stop(a->relay->loop, &a->timer);
	if (MHD_get_timeout(a->daemon, &wait_ms) == MHD_YES) {
		ev_timer_set(&a->timer, (double)wait_ms / 1000.0, 0.);
		ev_timer_start(a->relay->loop, &a->timer);
	}
}

static void on_io(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	run(io->data);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	run(timer->data);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct admin *a = arg;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		struct client *c = mem_calloc(1, sizeof(*c));

		*c = (struct client){ .connection = connection,
				      .since_ms = clock_boot_ms(),
				      .next = a->clients };
		a->clients = c;
		*context = c;
		return;
	}
	for (struct client **at = &a->clients; *at; at = &(*at)->next) {
		struct client *c = *at;

		if (c != *context)
			continue;
		*at = c->next;
		free(c);
		return;
	}
}

// A NUL byte would end the text for us, and not for a proxy in front that lets only some paths through.
static size_t unescape(void *arg, struct MHD_Connection *connection, char *text)
{
	(void)arg;
	(void)connection;
	return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static struct client *client_of(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static const char *header(const struct request *q, const char *name)
{
	const char *value = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, name);

	return value ? value : "";
}

// -- who may ask

// Read each time: a changed file counts at once, and the token is nowhere in our memory in between.
static bool has_token(const struct request *q)
{
	const char *given = guard_bearer(header(q, "Authorization"));
	const char *file = q->admin->relay->config->admin_token_file;
	struct err e = { 0 };
	char *token;
	bool ok;

	if (!given)
		return false;
	if (!config_read_secret(file, &token, &e)) {
		if (!q->admin->token_unreadable) // whoever asks must not fill the log
			log_warn("admin_token_unreadable", kv_err(&e), kv_str("then", "nobody is let in"));
		q->admin->token_unreadable = true;
		return false;
	}
	if (q->admin->token_unreadable)
		log_info("admin_token_readable", kv_str("file", file));
	q->admin->token_unreadable = false;
	ok = guard_same(given, token);
	config_secret_free(token);
	return ok;
}

struct query {
	struct exchange *x;
	unsigned seen;
};

static enum MHD_Result check_parameter(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
				       const char *value, size_t value_len)
{
	struct query *query = arg;
	struct err e = { 0 };

	(void)kind;
	if (guard_parameter(query->x->path->parameters, (struct guard_text){ name, name_len },
			    (struct guard_text){ value, value_len }, &query->seen, &e))
		return MHD_YES;
	answers_say(query->x, 400, e.text);
	return MHD_NO;
}

// False: refused, and that is the answer.
static bool admit(struct request *q, const char *method, const char *url)
{
	bool guarded = *q->admin->relay->config->admin_token_file;
	struct query query = { .x = &q->x };

	q->x.trusted = !guarded || has_token(q);
	q->x.path = answers_find(method, url, &q->allowed);
	if (q->too_large)
		answers_say(&q->x, 413, "requests have no body here");
	else if (!q->x.path)
		answers_say(&q->x, q->allowed ? 405 : 404,
			    q->allowed ? "another method is wanted" : "there is no such thing");
	else if (!guarded && !guard_is_our_host(header(q, "Host")))
		answers_say(&q->x, 403, "ask for this host by its address");
	else if (strcmp(method, "POST") == 0 &&
		 guard_is_foreign_origin(header(q, "Origin"), header(q, "Host")))
		answers_say(&q->x, 403, "a page of another site may not do that");
	else if (!q->x.trusted && !(q->x.path->flags & PATH_OPEN))
		answers_say(&q->x, 401,
			    "Authorization: Bearer TOKEN is wanted, with the token of admin.token_file");
	else
		(void)MHD_get_connection_values_n(q->connection, MHD_GET_ARGUMENT_KIND, check_parameter,
						  &query);
	return !q->x.answered;
}

// True: the path may be asked, now. What it asks of the table needs a place.
static bool seat(struct request *q)
{
	struct admin *a = q->admin;

	if (!(q->x.path->flags & PATH_WAITS))
		return true;
	if (a->closing || a->relay->stopping) {
		answers_refuse(&q->x, "stopping");
	} else if (a->placed >= PLACES) {
		answers_refuse(&q->x, "too many requests wait already");
	} else {
		a->placed++;
		q->placed = true;
		buf_init(&q->x.body, TABLE_ANSWER_MAX);
	}
	return q->placed;
}

// -- the life of a request

static const char *argument(struct exchange *x, const char *name)
{
	const struct request *q = (const struct request *)(void *)x;

	return MHD_lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, name);
}

static void on_ready(struct exchange *x)
{
	struct request *q = (struct request *)(void *)x;
	struct client *c = client_of(q->connection);

	if (!q->suspended)
		return;
	q->suspended = false;
	c->waits = false;
	c->since_ms = clock_boot_ms();
	MHD_resume_connection(q->connection);
	ev_feed_event(q->admin->relay->loop, &q->admin->timer, EV_TIMER);
}

static int socket_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection,
								       MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

// Also when bytes that nobody has read come before the end.
static bool has_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) == 1;
}

// Nobody watches the socket of a request that waits: a client that has gone must not hold its place. One that the table is
// being asked for keeps it until that has ended, so that what was done is said and looked at.
static void let_go_of_the_gone(struct admin *a)
{
	for (struct request *q = a->requests; q; q = q->next) {
		if (!q->suspended || answers_is_under_way(&q->x) || !has_gone(socket_of(q->connection)))
			continue;
		answers_cancel(&q->x);
		answers_refuse(&q->x, "the connection was closed before the end");
		on_ready(&q->x);
	}
}

// The library's own limit is on silence; one byte now and then must not hold a place for ever.
static void on_sweep(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct admin *a = timer->data;
	int64_t now_ms = clock_boot_ms();

	(void)loop;
	(void)revents;
	for (struct client *c = a->clients; c; c = c->next) {
		int fd = socket_of(c->connection);

		if (!c->waits && now_ms - c->since_ms > REQUEST_MAX_MS && fd >= 0)
			shutdown(fd, SHUT_RDWR);
	}
	let_go_of_the_gone(a);
	run(a); // a place that became free is only given away by the run after the one that freed it
}

static struct request *request_new(struct admin *a, struct MHD_Connection *connection)
{
	struct request *q = mem_calloc(1, sizeof(*q));

	q->admin = a;
	q->connection = connection;
	q->x.relay = a->relay;
	q->x.argument = argument;
	q->x.ready = on_ready;
	q->x.accept = header(q, "Accept");
	buf_init(&q->x.body, ANSWER_MAX);
	q->next = a->requests;
	a->requests = q;
	return q;
}

static enum MHD_Result send_answer(struct request *q)
{
	static const char *const headers[][2] = {
		{ "Cache-Control", "no-store" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "Referrer-Policy", "no-referrer" },
		{ "Content-Security-Policy", admin_page_policy },
	};
	struct MHD_Response *response;
	enum MHD_Result result;

	if (q->x.body.full)
		answers_say(&q->x, 500, ANSWER_TOO_LARGE);
	// NOLINTNEXTLINE(performance-no-int-to-ptr): it copies, but its parameter is not const
	response = MHD_create_response_from_buffer(q->x.body.len, (void *)(uintptr_t)buf_str(&q->x.body),
						   MHD_RESPMEM_PERSISTENT); // until on_completed
	if (!response)
		return MHD_NO;
	for (size_t i = 0; i < array_len(headers); i++)
		(void)MHD_add_response_header(response, headers[i][0], headers[i][1]);
	(void)MHD_add_response_header(response, "Content-Type", q->x.type);
	if (q->x.status == 405)
		(void)MHD_add_response_header(response, "Allow", q->allowed);
	if (q->x.status == 401)
		(void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
	result = MHD_queue_response(q->connection, (unsigned)q->x.status, response);
	MHD_destroy_response(response);
	return result;
}

// Called when the header is there, for each piece of a body, at its end, and again after a suspension.
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *body, size_t *body_len,
				  void **context)
{
	struct admin *a = arg;
	struct request *q = *context;

	(void)version;
	(void)body;
	if (!q) {
		*context = request_new(a, connection);
		return MHD_YES;
	}
	if (*body_len > 0) {
		q->too_large = true;
		*body_len = 0;
		return MHD_YES;
	}
	if (!q->begun) {
		q->begun = true;
		if (admit(q, method, url) && seat(q))
			q->x.path->answer(&q->x);
		if (!q->x.answered) {
			q->suspended = client_of(connection)->waits = true;
			MHD_suspend_connection(connection);
			return MHD_YES;
		}
	}
	return send_answer(q);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct admin *a = arg;
	struct request *q = *context;
	struct client *c = client_of(connection);

	(void)code;
	if (c)
		c->since_ms = clock_boot_ms();
	if (!q)
		return;
	for (struct request **at = &a->requests; *at; at = &(*at)->next) {
		if (*at != q)
			continue;
		*at = q->next;
		break;
	}
	answers_cancel(&q->x);
	a->placed -= q->placed;
	buf_done(&q->x.body);
	free(q);
	*context = NULL;
}

static bool start(struct admin *a, int fd)
{
	const union MHD_DaemonInfo *info;
	struct ev_loop *loop = a->relay->loop;

	a->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, a,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, SILENT_MAX_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_MAX,
		MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, a,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, a, MHD_OPTION_END);
	if (!a->daemon)
		return false;
	info = MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return false;
	ev_io_init(&a->io, on_io, info->listen_fd, EV_READ);
	ev_init(&a->timer, on_timer);
	ev_timer_init(&a->sweep, on_sweep, 1., 1.);
	a->io.data = a->timer.data = a->sweep.data = a;
	ev_io_start(loop, &a->io);
	ev_timer_start(loop, &a->sweep);
	return true;
}

bool admin_new(struct relay *r, struct admin **ret_admin, struct err *e)
{
	const struct config *c = r->config;
	struct admin *a;
	int fd;

	*ret_admin = NULL;
	if (strcmp(c->admin_listen, "off") == 0)
		return true;
	fd = listen_open(c, CLIENTS_MAX, e);
	if (fd < 0)
		return e->kind == ERR_NONE;
	a = mem_calloc(1, sizeof(*a));
	a->relay = r;
	if (!start(a, fd)) {
		close(fd);
		free(a);
		return err_set(e, ERR_UNAVAILABLE, "the HTTP interface cannot be started");
	}
	log_info("admin_listens", kv_str("at", c->admin_listen), kv_bool("token", *c->admin_token_file));
	*ret_admin = a;
	return true;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	a->closing = true;
	for (struct request *q = a->requests; q; q = q->next) {
		if (!q->suspended)
			continue;
		answers_refuse(&q->x, "stopping");
		answers_cancel(&q->x);
		on_ready(&q->x);
	}
	(void)MHD_run(a->daemon);
	ev_io_stop(a->relay->loop, &a->io);
	ev_timer_stop(a->relay->loop, &a->timer);
	ev_timer_stop(a->relay->loop, &a->sweep);
	MHD_stop_daemon(a->daemon);
	free(a);
}

void admin_add_version(struct buf *out)
{
	buf_addf(out, "libmicrohttpd %s", MHD_get_version());
}
