// SPDX-License-Identifier: MIT
#include "run/listen.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEND_BUFFER (64 * 1024)

// "127.0.0.1:9465", "[::1]:9465", "localhost:9465"
static struct addrinfo *resolve(const char *listen, struct err *e)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(listen, ':');
	struct addrinfo *found = NULL;
	int code;

	if (!colon || colon == listen || !colon[1]) {
		err_set(e, ERR_CONFIG,
			"admin.listen: \"%s\" is not an address with a port; write 127.0.0.1:9465, or off",
			listen);
		return NULL;
	}

	bool brackets = listen[0] == '[' && colon[-1] == ']';
	auto_free char *host = mem_strndup(listen + brackets, (size_t)(colon - listen) - (brackets ? 2 : 0));

	code = getaddrinfo(host, colon + 1, &hints, &found);
	if (code != 0)
		err_set(e, ERR_CONFIG, "admin.listen: \"%s\": %s; write 127.0.0.1:9465, or off", listen,
			gai_strerror(code));
	return found;
}

static bool is_loopback(const struct sockaddr *address)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	if (address->sa_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int listen_at(const struct addrinfo *where, int backlog)
{
	int yes = 1, buffer = SEND_BUFFER,
	    fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	// Else the kernel takes up to some MB of each answer that nobody reads.
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, backlog) == 0)
		return fd;
	close(fd);
	return -1;
}

int listen_open(const struct config *c, int backlog, struct err *e)
{
	struct addrinfo *where = resolve(c->admin_listen, e);
	int fd = -1;

	if (!where)
		return -1;
	if (!is_loopback(where->ai_addr) && !*c->admin_token_file) {
		err_set(e, ERR_CONFIG,
			"admin.listen: others can reach %s: set admin.token_file, or listen on 127.0.0.1",
			c->admin_listen);
	} else if ((fd = listen_at(where, backlog)) < 0) {
		err_set(e, ERR_CONFIG, "admin.listen: %s: %s", c->admin_listen, strerror(errno));
		if (config_origin(c, "admin", "listen") == ORIGIN_DEFAULT) {
			log_warn(
				"admin_unavailable", kv_err(e),
				kv_str("then",
				       "going on without /metrics; set admin.listen to another port, or off"));
			*e = (struct err){ 0 };
		}
	}
	freeaddrinfo(where);
	return fd;
}

// Nobody connects to "every address".
static void make_reachable(struct sockaddr *address)
{
	struct sockaddr_in *v4 = (void *)address;
	struct sockaddr_in6 *v6 = (void *)address;

	if (address->sa_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY))
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (address->sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
		v6->sin6_addr = in6addr_loopback;
}

bool listen_url(const struct config *c, char *ret_url, size_t size, struct err *e)
{
	struct addrinfo *where = resolve(c->admin_listen, e);
	char host[NI_MAXHOST], port[NI_MAXSERV];
	int code;

	if (!where)
		return false;
	make_reachable(where->ai_addr);
	code = getnameinfo(where->ai_addr, where->ai_addrlen, host, sizeof(host), port, sizeof(port),
			   NI_NUMERICHOST | NI_NUMERICSERV);
	if (code == 0)
		snprintf(ret_url, size, where->ai_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s",
			 host, port);
	freeaddrinfo(where);
	return code == 0 ||
	       err_set(e, ERR_CONFIG, "admin.listen: \"%s\": %s", c->admin_listen, gai_strerror(code));
}
