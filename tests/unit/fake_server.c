// SPDX-License-Identifier: MIT
#include "fake_server.h"

#include "base/buf.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16, REQUEST_MAX = 64 * 1024 * 1024 };
#define DRIP_SECONDS 0.02

struct connection {
	struct fake_server *server;
	int fd; // -1 = closed
	ev_io io;
	ev_timer drip;
	struct buf in;
	const struct fake_step *step; // being answered
	size_t replied;
	bool paused;
};

struct fake_server {
	struct ev_loop *loop;
	const struct fake_step *steps;
	size_t step_count;
	int fd;
	int port;
	ev_io io;
	struct connection connections[CONNECTIONS_MAX];
	size_t connection_count;
	size_t request_count;
	size_t bytes;
	struct buf head;
	struct buf body;
};

static void drop(struct connection *c, bool reset)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (c->fd < 0)
		return;
	ev_io_stop(c->server->loop, &c->io);
	ev_timer_stop(c->server->loop, &c->drip);
	if (reset)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(c->fd);
	c->fd = -1;
}

static void finish_step(struct connection *c)
{
	const struct fake_step *step = c->step;

	c->step = NULL;
	if (step->end != FAKE_KEEP)
		drop(c, step->end == FAKE_RESET);
}

static void on_drip(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct connection *c = timer->data;

	(void)revents;
	if (send(c->fd, c->step->reply + c->replied, 1, MSG_NOSIGNAL) != 1 || !c->step->reply[++c->replied]) {
		ev_timer_stop(loop, timer);
		finish_step(c);
	}
}

static void answer(struct connection *c, const struct fake_step *step)
{
	c->step = step;
	c->replied = 0;
	if (step->reply && step->drip) {
		ev_timer_set(&c->drip, DRIP_SECONDS, DRIP_SECONDS);
		ev_timer_start(c->server->loop, &c->drip);
		return;
	}
	if (step->reply)
		(void)send(c->fd, step->reply, strlen(step->reply), MSG_NOSIGNAL);
	finish_step(c);
}

static size_t content_length(const char *head)
{
	const char *found = strcasestr(head, "\r\nContent-Length:");

	return found ? strtoul(found + strlen("\r\nContent-Length:"), NULL, 10) : 0;
}

// One request at a time: libcurl sends no second one before it has the answer.
static void look(struct connection *c)
{
	struct fake_server *s = c->server;
	const char *end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;
	bool early = s->request_count < s->step_count && s->steps[s->request_count].early;
	size_t head_len;
	size_t body_len;

	if (!end || c->paused)
		return;
	head_len = (size_t)(end - c->in.data) + 4;
	buf_clear(&s->head);
	buf_add(&s->head, c->in.data, head_len);
	body_len = content_length(buf_str(&s->head));
	if (!early && c->in.len < head_len + body_len)
		return;
	if (early) {
		c->paused = true;
		ev_io_stop(s->loop, &c->io);
	} else {
		buf_clear(&s->body);
		buf_add(&s->body, c->in.data + head_len, body_len);
		buf_clear(&c->in);
	}
	s->request_count++;
	if (s->request_count <= s->step_count)
		answer(c, &s->steps[s->request_count - 1]);
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	struct connection *c = io->data;
	static char data[256 * 1024];
	ssize_t n = recv(c->fd, data, sizeof(data), 0);

	(void)loop, (void)revents;
	if (n <= 0) {
		drop(c, false);
		return;
	}
	c->server->bytes += (size_t)n;
	buf_add(&c->in, data, (size_t)n);
	look(c);
}

static void on_connection(struct ev_loop *loop, ev_io *io, int revents)
{
	struct fake_server *s = io->data;
	struct connection *c = &s->connections[s->connection_count];

	(void)revents;
	assert(s->connection_count < CONNECTIONS_MAX);
	s->connection_count++;
	c->server = s;
	c->fd = accept(s->fd, NULL, NULL);
	assert(c->fd >= 0);
	buf_init(&c->in, REQUEST_MAX);
	ev_io_init(&c->io, on_readable, c->fd, EV_READ);
	c->io.data = c;
	ev_init(&c->drip, on_drip);
	c->drip.data = c;
	ev_io_start(loop, &c->io);
}

struct fake_server *fake_server_new(struct ev_loop *loop, const struct fake_step *steps, size_t count)
{
	struct fake_server *s = mem_calloc(1, sizeof(*s));
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int small = 16 * 1024;

	s->loop = loop;
	s->steps = steps;
	s->step_count = count;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(s->fd >= 0);
	// So that a server that does not read is noticed by the sender soon.
	(void)setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (bind(s->fd, (struct sockaddr *)&address, len) != 0 || listen(s->fd, 16) != 0 ||
	    getsockname(s->fd, (struct sockaddr *)&address, &len) != 0)
		abort();
	s->port = ntohs(address.sin_port);
	buf_init(&s->head, REQUEST_MAX);
	buf_init(&s->body, REQUEST_MAX);
	ev_io_init(&s->io, on_connection, s->fd, EV_READ);
	s->io.data = s;
	ev_io_start(loop, &s->io);
	return s;
}

void fake_server_stop_listening(struct fake_server *s)
{
	if (s->fd < 0)
		return;
	ev_io_stop(s->loop, &s->io);
	close(s->fd);
	s->fd = -1;
}

void fake_server_free(struct fake_server *s)
{
	fake_server_stop_listening(s);
	for (size_t i = 0; i < s->connection_count; i++) {
		drop(&s->connections[i], false);
		buf_done(&s->connections[i].in);
	}
	buf_done(&s->head);
	buf_done(&s->body);
	free(s);
}

int fake_server_port(const struct fake_server *s)
{
	return s->port;
}

void fake_server_read_on(struct fake_server *s)
{
	for (size_t i = 0; i < s->connection_count; i++) {
		if (s->connections[i].fd >= 0)
			ev_io_start(s->loop, &s->connections[i].io);
	}
}

size_t fake_server_connections(const struct fake_server *s)
{
	return s->connection_count;
}

size_t fake_server_requests(const struct fake_server *s)
{
	return s->request_count;
}

size_t fake_server_bytes(const struct fake_server *s)
{
	return s->bytes;
}

const char *fake_server_head(const struct fake_server *s)
{
	return buf_str(&s->head);
}

const char *fake_server_body(const struct fake_server *s, size_t *ret_len)
{
	*ret_len = s->body.len;
	return buf_str(&s->body);
}
