// SPDX-License-Identifier: MIT
#include "base/sd_notify.h"

#include "base/buf.h"
#include "base/parse.h"

#include "quote.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STATUS_MAX 511
#define MESSAGE_MAX 4096

// A path, or with '@' a name in the abstract space, whose first byte is NUL and whose length counts.
static bool read_address(const char *name, struct sockaddr_un *a, socklen_t *ret_len)
{
	size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(a->sun_path))
		return false;
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(a->sun_path, name, len);
	if (name[0] == '@')
		a->sun_path[0] = '\0';
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
	return true;
}

// A line break would begin another assignment, and one byte that is not UTF-8 makes systemd ignore the whole text.
static void add_status(struct buf *out, const char *status)
{
	size_t len = strlen(status), n;

	buf_adds(out, out->len > 0 ? "\nSTATUS=" : "STATUS=");
	for (size_t i = 0; i < len && i < STATUS_MAX; i += n) {
		n = utf8_len(status + i, len - i);
		if (i + n > STATUS_MAX)
			break;
		if (n == 1 && ((unsigned char)status[i] < 0x20 || status[i] == 0x7f))
			buf_addc(out, ' ');
		else
			buf_add(out, n > 0 ? status + i : "?", n > 0 ? n : 1);
		n = n > 0 ? n : 1;
	}
}

bool sd_notify(const char *lines, const char *status)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	socklen_t address_len;
	auto_buf message = { 0 };
	int fd;
	ssize_t sent;

	if (!name || !read_address(name, &address, &address_len))
		return false;
	buf_init(&message, MESSAGE_MAX);
	buf_adds(&message, lines);
	if (*status)
		add_status(&message, status);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	sent = sendto(fd, buf_str(&message), message.len, MSG_NOSIGNAL, (struct sockaddr *)&address,
		      address_len);
	close(fd);
	return sent == (ssize_t)message.len;
}

int64_t sd_watchdog_us(void)
{
	const char *period = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	int64_t us = 0, owner = 0;

	if (!period || !parse_int(period, &us, NULL) || us <= 0)
		return 0;
	if (pid && (!parse_int(pid, &owner, NULL) || owner != getpid()))
		return 0; // meant for a parent that passed its environment on
	return us;
}
