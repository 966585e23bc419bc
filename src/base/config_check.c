// SPDX-License-Identifier: MIT
#include "base/config.h"
#include "base/parse.h"

#include "config_state.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void config_add_place(const struct config *c, size_t index, struct buf *out)
{
	const struct config_slot *slot = &c->state->slots[index];
	char name[OPTION_NAME_SIZE];
	switch (slot->origin) {
	case ORIGIN_DEFAULT:
		buf_adds(out, "default");
		break;
	case ORIGIN_FILE:
		buf_addf(out, "%s:%d", c->state->path, slot->line);
		break;
	case ORIGIN_ENV:
		option_env_name(&options[index], name);
		buf_adds(out, name);
		break;
	case ORIGIN_FLAG:
		option_flag_name(&options[index], name);
		buf_addf(out, "--%s", name);
		break;
	}
}

static bool is_set(const struct config *c, size_t index)
{
	return option_is_text(&options[index]) && *option_load(&options[index], c).text;
}

// Names the option that is wrong, and the place where it was set.
static bool wrong(const struct config *c, size_t index, struct err *e, const char *what)
{
	auto_buf place;
	buf_init(&place, 512);
	config_add_place(c, index, &place);
	return err_set(e, ERR_CONFIG, "%s.%s (%s): %s", options[index].section, options[index].key,
		       buf_str(&place), what);
}

static bool is_needed(const char *section, unsigned needs)
{
	return strcmp(section, "postgres") == 0 ? needs & NEEDS_POSTGRES : needs & NEEDS_ELASTICSEARCH;
}

static bool check_required(const struct config *c, unsigned needs, struct err *e)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (!(options[i].flags & OPTF_REQUIRED) || is_set(c, i) ||
		    !is_needed(options[i].section, needs))
			continue;
		char env[OPTION_NAME_SIZE], flag[OPTION_NAME_SIZE];
		option_env_name(&options[i], env);
		option_flag_name(&options[i], flag);
		return err_set(
			e, ERR_CONFIG, "%s.%s is not set: write %s under [%s] in the file, or set %s or --%s",
			options[i].section, options[i].key, options[i].key, options[i].section, env, flag);
	}
	return true;
}

static bool check_files(const struct config *c, struct err *e)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (!(options[i].flags & OPTF_SECRET_FILE) || !is_set(c, i))
			continue;
		const char *path = option_load(&options[i], c).text;
		struct err why;
		struct stat st;
		if (access(path, R_OK) != 0 || stat(path, &st) != 0)
			(void)err_set(&why, ERR_CONFIG, "cannot read %.512s: %s", path, strerror(errno));
		else if (!S_ISREG(st.st_mode))
			(void)err_set(&why, ERR_CONFIG, "%.512s is not a regular file", path);
		else
			continue;
		return wrong(c, i, e, why.text);
	}
	return true;
}

// host, host:port or [address]:port, up to the path.
static bool has_good_port(const char *host)
{
	size_t end = strcspn(host, "/?# ");
	const char *bracket = memchr(host, ']', end);
	const char *from = bracket ? bracket : host;
	const char *colon = memchr(from, ':', end - (size_t)(from - host));
	char digits[8];
	size_t n = colon ? end - (size_t)(colon + 1 - host) : 0;
	int64_t port;
	struct err ignored;

	if (!colon)
		return true;
	if (n == 0 || n >= sizeof(digits))
		return false;
	memcpy(digits, colon + 1, n);
	digits[n] = '\0';
	return parse_int(digits, &port, &ignored) && port >= 1 && port <= 65535;
}

static bool check_url(const struct config *c, struct err *e)
{
	const char *url = c->elasticsearch_url;
	if (!*url)
		return true;
	// First of all, so that no other message is tempted to show the value.
	if (option_url_has_user(url))
		return wrong(
			c, OPTION_elasticsearch_url, e,
			"must not hold a user or password: use elasticsearch.username and password_file, "
			"or api_key_file");
	size_t scheme = !strncmp(url, "http://", 7) ? 7 : !strncmp(url, "https://", 8) ? 8 : 0;
	if (!scheme)
		return wrong(c, OPTION_elasticsearch_url, e, "must start with http:// or https://");
	if (strchr("/:?#", url[scheme]))
		return wrong(c, OPTION_elasticsearch_url, e, "has no host: write https://host:9200");
	if (!has_good_port(url + scheme))
		return wrong(c, OPTION_elasticsearch_url, e,
			     "has a bad port: it is a number from 1 to 65535");
	if (url[strcspn(url, " ?#")])
		return wrong(c, OPTION_elasticsearch_url, e, "must not hold a space, ? or #");
	return true;
}

static bool check_credentials(const struct config *c, struct err *e)
{
	bool basic = *c->elasticsearch_username || *c->elasticsearch_password_file;
	if (basic && !*c->elasticsearch_password_file)
		return wrong(c, OPTION_elasticsearch_username, e, "needs elasticsearch.password_file");
	if (basic && !*c->elasticsearch_username)
		return wrong(c, OPTION_elasticsearch_password_file, e, "needs elasticsearch.username");
	if (strchr(c->elasticsearch_username, ':'))
		return wrong(c, OPTION_elasticsearch_username, e,
			     "must not hold a colon: HTTP has no way to send it");
	if (basic && *c->elasticsearch_api_key_file)
		return wrong(c, OPTION_elasticsearch_api_key_file, e, "excludes elasticsearch.username");
	if (*c->elasticsearch_bearer_file && (basic || *c->elasticsearch_api_key_file))
		return wrong(c, OPTION_elasticsearch_bearer_file, e,
			     "excludes elasticsearch.username and api_key_file");
	if (*c->elasticsearch_aws_region &&
	    (basic || *c->elasticsearch_api_key_file || *c->elasticsearch_bearer_file))
		return wrong(
			c, OPTION_elasticsearch_aws_region, e,
			"excludes elasticsearch.username, api_key_file and bearer_file: a request has one "
			"signature");
	if (*c->elasticsearch_aws_credentials_file && !*c->elasticsearch_aws_region)
		return wrong(c, OPTION_elasticsearch_aws_credentials_file, e,
			     "needs elasticsearch.aws_region");
	return true;
}

// What says whom to trust in TLS says that there shall be TLS.
static bool check_tls(const struct config *c, struct err *e)
{
	bool https = strncmp(c->elasticsearch_url, "http://", 7) != 0;
	unsigned char ignored[32];
	struct err why;

	if (*c->elasticsearch_key_file && !*c->elasticsearch_cert_file)
		return wrong(c, OPTION_elasticsearch_key_file, e, "needs elasticsearch.cert_file");
	if (*c->elasticsearch_ca_file && !https)
		return wrong(c, OPTION_elasticsearch_ca_file, e,
			     "needs an https:// address in elasticsearch.url");
	if (*c->elasticsearch_cert_file && !https)
		return wrong(c, OPTION_elasticsearch_cert_file, e,
			     "needs an https:// address in elasticsearch.url");
	if (!*c->elasticsearch_fingerprint)
		return true;
	if (!https)
		return wrong(c, OPTION_elasticsearch_fingerprint, e,
			     "needs an https:// address in elasticsearch.url");
	if (*c->elasticsearch_ca_file)
		return wrong(c, OPTION_elasticsearch_fingerprint, e,
			     "excludes elasticsearch.ca_file: one of the two says whom to trust");
	return parse_fingerprint(c->elasticsearch_fingerprint, ignored, &why) ||
	       wrong(c, OPTION_elasticsearch_fingerprint, e, why.text);
}

static bool check_queries(const struct config *c, struct err *e)
{
	const char *names = c->outbox_delete_by_query;

	if (names[strcspn(names, "*?\"<>|#/\\")] || list_has(names, "_all", strlen("_all")))
		return wrong(c, OPTION_outbox_delete_by_query, e,
			     "must name each index, as events do: products, orders");
	return true;
}

static bool check_retry(const struct config *c, struct err *e)
{
	if (c->retry_cap < c->retry_base)
		return wrong(c, OPTION_retry_cap, e, "is shorter than retry.base");
	return true;
}

bool config_check(const struct config *c, unsigned needs, struct err *e)
{
	return check_required(c, needs, e) && check_url(c, e) && check_credentials(c, e) && check_tls(c, e) &&
	       check_retry(c, e) && check_queries(c, e) && ((needs & NEEDS_NO_SECRETS) || check_files(c, e));
}
