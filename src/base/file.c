// SPDX-License-Identifier: MIT
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// At most size bytes, fewer only at the end of the file.
static bool read_all(int fd, char *out, size_t size, size_t *ret_len)
{
	size_t len = 0;
	while (len < size) {
		ssize_t n = read(fd, out + len, size - len);
		if (n < 0 && errno != EINTR)
			return false;
		if (n == 0)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	*ret_len = len;
	return true;
}

// Takes fd, which is open, or -1 with errno.
static bool read_and_close(int fd, const char *path, char *out, size_t max, size_t *ret_len, struct err *e)
{
	if (fd < 0)
		return err_set(e, ERR_CONFIG, "cannot open %s: %s", path, strerror(errno));
	size_t len = 0;
	bool ok = read_all(fd, out, max + 1, &len); // the byte for the NUL tells a longer file
	int why = errno;
	close(fd);
	if (!ok)
		return err_set(e, ERR_CONFIG, "cannot read %s: %s", path, strerror(why));
	if (len > max)
		return err_set(e, ERR_CONFIG, "%s is longer than %zu bytes", path, max);
	out[len] = '\0';
	*ret_len = len;
	return true;
}

bool file_read(const char *path, char *out, size_t max, size_t *ret_len, struct err *e)
{
	return read_and_close(open(path, O_RDONLY | O_CLOEXEC), path, out, max, ret_len, e);
}

bool file_read_regular(const char *path, char *out, size_t max, size_t *ret_len, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe is opened at once, to be refused
	struct stat st;
	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(e, ERR_CONFIG, "%s is not a regular file", path);
	}
	return read_and_close(fd, path, out, max, ret_len, e);
}
