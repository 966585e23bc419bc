// SPDX-License-Identifier: MIT
#include "base/config.h"
#include "base/file.h"
#include "base/mem.h"

#include <string.h>

enum { SECRET_MAX = 65536 };

// A secret becomes part of an HTTP header: what is not one line of text is a mistake, or an attack.
static bool check_secret(const char *path, const char *text, size_t len, struct err *e)
{
	if (!len)
		return err_set(e, ERR_CONFIG, "%s is empty", path);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return err_set(e, ERR_CONFIG, "%s holds more than one line of text", path);
	return true;
}

bool config_read_secret(const char *path, char **ret_text, struct err *e)
{
	// One block of the largest size: a buffer that grows would leave copies behind in freed memory.
	char *text = mem_calloc(SECRET_MAX + 1, 1);
	size_t len = 0;
	bool ok = file_read_regular(path, text, SECRET_MAX, &len, e);
	if (ok) {
		if (len && text[len - 1] == '\n')
			len--;
		if (len && text[len - 1] == '\r')
			len--;
		ok = check_secret(path, text, len, e);
	}
	if (ok)
		*ret_text = mem_strndup(text, len);
	explicit_bzero(text, SECRET_MAX + 1);
	free(text);
	return ok;
}

void config_secret_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}
