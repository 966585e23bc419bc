// SPDX-License-Identifier: MIT
#include "credential.h"

#include "base/config.h"
#include "base/file.h"
#include "base/ini.h"
#include "base/mem.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { AWS_FILE_MAX = 64 * 1024 };

// In the file, in the environment, and here.
static const struct {
	const char *key, *variable;
	size_t at;
} aws_parts[] = {
	{ "aws_access_key_id", "AWS_ACCESS_KEY_ID", offsetof(struct credential, id) },
	{ "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", offsetof(struct credential, secret) },
	{ "aws_session_token", "AWS_SESSION_TOKEN", offsetof(struct credential, session_token) },
};

static void put(struct credential *c, size_t at, const char *text)
{
	char **part = (char **)(void *)((char *)c + at);

	config_secret_free(*part);
	*part = mem_strdup(text);
}

static void forget(struct credential *c)
{
	config_secret_free(c->id);
	config_secret_free(c->secret);
	config_secret_free(c->session_token);
	c->id = c->secret = c->session_token = NULL;
}

static const char *profile(void)
{
	const char *name = getenv("AWS_PROFILE");

	return name && *name ? name : "default";
}

// Other profiles and other keys are for other programs.
static bool take_entry(void *arg, const struct ini_entry *entry, struct err *e)
{
	(void)e;
	for (size_t i = 0; i < array_len(aws_parts); i++) {
		if (strcmp(entry->section, profile()) == 0 && strcmp(entry->key, aws_parts[i].key) == 0)
			put(arg, aws_parts[i].at, entry->value);
	}
	return true;
}

static bool is_complete(const struct credential *c)
{
	return c->id && *c->id && c->secret && *c->secret;
}

static bool read_aws(struct credential *c, struct err *e)
{
	char *text = mem_calloc(AWS_FILE_MAX + 1, 1);
	size_t len = 0;
	bool ok = file_read_regular(c->path, text, AWS_FILE_MAX, &len, e) &&
		  ini_parse(c->path, text, len, take_entry, c, e);

	explicit_bzero(text, AWS_FILE_MAX + 1);
	free(text);
	if (ok && !is_complete(c))
		ok = err_set(e, ERR_CONFIG, "%s: [%s] has no aws_access_key_id and aws_secret_access_key",
			     c->path, profile());
	return ok;
}

static bool read_environment(struct credential *c, struct err *e)
{
	for (size_t i = 0; i < array_len(aws_parts); i++) {
		const char *text = getenv(aws_parts[i].variable);

		if (text && *text)
			put(c, aws_parts[i].at, text);
	}
	return is_complete(c) ||
	       err_set(e, ERR_CONFIG,
		       "aws_region needs aws_credentials_file, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
		       "environment");
}

// Into a new one, so that a failure changes nothing.
static bool read_into(struct credential *c, struct err *e)
{
	struct credential fresh = { .path = c->path, .aws = c->aws };
	bool ok;

	// Looked at first: a change while we read is seen as a change the next time.
	if (*c->path && stat(c->path, &fresh.seen) != 0)
		return err_set(e, ERR_CONFIG, "cannot read %s: %s", c->path, strerror(errno));
	ok = !c->aws    ? config_read_secret(c->path, &fresh.secret, e)
	     : *c->path ? read_aws(&fresh, e)
			: read_environment(&fresh, e);
	if (ok) {
		forget(c);
		*c = fresh;
	} else {
		forget(&fresh);
	}
	return ok;
}

bool credential_open(struct credential *c, const char *path, bool aws, struct err *e)
{
	*c = (struct credential){ .path = path, .aws = aws };
	return read_into(c, e);
}

// Another file of that name (a rename, a link that points elsewhere), or the same one written again.
static bool has_changed(const struct stat *a, const struct stat *b)
{
	return a->st_ino != b->st_ino || a->st_dev != b->st_dev || a->st_size != b->st_size ||
	       a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

void credential_refresh(struct credential *c)
{
	struct stat now;

	if (c->path && *c->path && stat(c->path, &now) == 0 && has_changed(&now, &c->seen))
		(void)read_into(c, NULL);
}

void credential_close(struct credential *c)
{
	forget(c);
}
