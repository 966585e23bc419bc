// SPDX-License-Identifier: MIT
#include "es/http.h"

#include <stdio.h>

struct http_settings http_settings_of(const struct config *c, const char *version)
{
	struct http_settings settings = {
		.url = c->elasticsearch_url,
		.username = c->elasticsearch_username,
		.password_file = c->elasticsearch_password_file,
		.api_key_file = c->elasticsearch_api_key_file,
		.bearer_file = c->elasticsearch_bearer_file,
		.ca_file = c->elasticsearch_ca_file,
		.fingerprint = c->elasticsearch_fingerprint,
		.cert_file = c->elasticsearch_cert_file,
		.key_file = c->elasticsearch_key_file,
		.aws_region = c->elasticsearch_aws_region,
		.aws_credentials_file = c->elasticsearch_aws_credentials_file,
		.aws_serverless = c->elasticsearch_aws_service == AWS_AOSS,
		.gzip = c->elasticsearch_compression == COMPRESSION_GZIP,
		.timeout_ms = c->elasticsearch_timeout,
		.answer_max = HTTP_ANSWER_MAX,
	};

	snprintf(settings.user_agent, sizeof(settings.user_agent), "outboxd/%s", version);
	return settings;
}
