// SPDX-License-Identifier: MIT
// Elasticsearch or OpenSearch: connection, credentials, cluster. Only asks.
#include "base/clock.h"
#include "cmd/check.h"
#include "es/http_sync.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER "elasticsearch"
#define ANSWER_MS_MAX 10000

struct elastic {
	struct checkup *checkup;
	struct http_sync *http;
	json_t *settings; // of the cluster, flat
	bool secured;
	bool gone; // and that was said
};

struct checkup *elastic_checkup(struct elastic *es)
{
	return es->checkup;
}

const char *elastic_setting(struct elastic *es, const char *name)
{
	static const char *const levels[] = { "transient", "persistent", "defaults" };
	const char *value = NULL;

	for (size_t i = 0; i < array_len(levels) && !value; i++)
		value = json_string_value(json_object_get(json_object_get(es->settings, levels[i]), name));
	return value;
}

bool elastic_is_secured(const struct elastic *es)
{
	return es->secured;
}

static void add(struct elastic *es, enum finding_state state, const char *advice, const char *what)
{
	findings_add(&es->checkup->findings, SERVER, state, advice, "%s", what);
}

static void add_away(struct elastic *es, const struct http_reply *reply)
{
	bool tls = reply->fault == HTTP_TLS;

	es->gone = true;
	findings_add(
		&es->checkup->findings, SERVER, tls ? FINDING_PROBLEM : FINDING_AWAY,
		tls ? "see elasticsearch.ca_file, cert_file and key_file, and the host name in the certificate"
		    : "see whether it runs, and host and port in elasticsearch.url",
		"%s: %s (%s)", es->checkup->config->elasticsearch_url, http_fault_name(reply->fault),
		reply->fault_text);
}

struct answer elastic_ask(struct elastic *es, const char *method, const char *path, const char *body)
{
	struct answer a = { 0 };
	const struct http_reply *reply;

	if (es->gone)
		return a;
	reply = http_sync_ask(es->http, method, path, body, ANSWER_MS_MAX);
	if (reply->fault != HTTP_FINE) {
		add_away(es, reply);
		return a;
	}
	a.status = reply->status;
	a.json = json_loadb(reply->body, reply->len, 0, NULL);
	return a;
}

void answer_done(struct answer *a)
{
	json_decref(a->json);
	a->json = NULL;
}

const char *answer_reason(const struct answer *a)
{
	const json_t *error = json_object_get(a->json, "error");
	const char *reason = json_string_value(error);

	if (!reason)
		reason = json_string_value(json_object_get(error, "reason"));
	return reason ? reason : "";
}

void elastic_not_seen(struct elastic *es, const char *area, const char *what, const struct answer *a)
{
	if (a->status == 0)
		return; // it went away, and that was said
	const char *reason = a->status == 403 ? answer_reason(a) : "";

	findings_add(&es->checkup->findings, area, FINDING_OK, "", "%s: not looked at (HTTP %d%s%s)", what,
		     a->status, *reason ? " " : "", reason);
}

// What is older than `oldest` lacks what we send; what is older than `tested` nobody has tried.
static const struct product {
	const char *name, *shown;
	int oldest[2], tested[2];
} products[] = {
	{ "opensearch", "OpenSearch", { 1, 0 }, { 2, 0 } },
	{ "", "Elasticsearch", { 7, 0 }, { 7, 17 } }, // the last one is also what does not say its name
};

static bool is_below(const int have[2], const int want[2])
{
	return have[0] < want[0] || (have[0] == want[0] && have[1] < want[1]);
}

static void add_version(struct elastic *es, const char *number, const char *distribution)
{
	const struct product *p = products;
	int have[2] = { 0, 0 };
	char *rest;

	while (*p->name && (!distribution || strcmp(p->name, distribution) != 0))
		p++;
	have[0] = (int)strtol(number, &rest, 10); // what is no number is version 0: too old, and shown
	if (*rest == '.')
		have[1] = (int)strtol(rest + 1, NULL, 10);
	if (is_below(have, p->oldest))
		findings_add(&es->checkup->findings, SERVER, FINDING_PROBLEM,
			     "upgrade it, or see elasticsearch.url",
			     "%s %s is too old: outboxd needs %d.%d or later", p->shown, number, p->tested[0],
			     p->tested[1]);
	else if (is_below(have, p->tested))
		findings_add(&es->checkup->findings, SERVER, FINDING_WARNING, "upgrade it",
			     "%s %s is older than what outboxd is tested with (%d.%d and later)", p->shown,
			     number, p->tested[0], p->tested[1]);
	else
		findings_add(&es->checkup->findings, SERVER, FINDING_OK, "", "%s %s", p->shown, number);
}

static void check_version(struct elastic *es, const struct answer *a)
{
	const json_t *version = json_object_get(a->json, "version");
	const char *number = json_string_value(json_object_get(version, "number"));
	const char *product = json_string_value(json_object_get(version, "distribution"));

	if (number)
		add_version(es, number, product);
	else if (a->status == 200)
		add(es, FINDING_PROBLEM, "see elasticsearch.url",
		    "something answers there that is not Elasticsearch");
	else
		elastic_not_seen(es, SERVER, "it answers; its version", a);
}

static const char *credentials_advice(const struct config *c)
{
	if (*c->elasticsearch_api_key_file)
		return "see elasticsearch.api_key_file: the key must be the one that was printed as `encoded`";
	if (*c->elasticsearch_bearer_file)
		return "see elasticsearch.bearer_file: the token may have expired or been revoked";
	if (*c->elasticsearch_aws_region)
		return "see elasticsearch.aws_region, aws_service and aws_credentials_file, and the clock";
	if (*c->elasticsearch_username)
		return "see elasticsearch.username and password_file";
	return "set elasticsearch.api_key_file, or username and password_file";
}

// False: there is nobody to ask more, or nobody who would answer.
static bool check_connection(struct elastic *es)
{
	const struct config *c = es->checkup->config;
	auto_answer a = elastic_ask(es, "GET", "/", NULL);

	if (a.status == 0)
		return false;
	if (a.status == 401) {
		findings_add(&es->checkup->findings, SERVER, FINDING_PROBLEM, credentials_advice(c),
			     "it refuses these credentials (HTTP 401 %s)", answer_reason(&a));
		return false;
	}
	if (a.status >= 300 && a.status < 400) {
		findings_add(&es->checkup->findings, SERVER, FINDING_PROBLEM,
			     "name the server itself in elasticsearch.url: outboxd follows no redirect",
			     "it answers with a redirect (HTTP %d)", a.status);
		return false;
	}
	check_version(es, &a);
	return true;
}

static void check_clear_text(struct elastic *es)
{
	const struct config *c = es->checkup->config;
	const char *url = c->elasticsearch_url;
	static const char *const local[] = { "http://127.", "http://localhost", "http://[::1]" };

	if (strncmp(url, "http://", 7) != 0 ||
	    !(*c->elasticsearch_username || *c->elasticsearch_api_key_file || *c->elasticsearch_bearer_file))
		return;
	for (size_t i = 0; i < array_len(local); i++) {
		if (strncmp(url, local[i], strlen(local[i])) == 0)
			return;
	}
	add(es, FINDING_WARNING, "use https:// in elasticsearch.url",
	    "the password or key crosses the network in clear");
}

static void check_health(struct elastic *es)
{
	auto_answer a = elastic_ask(es, "GET", "/_cluster/health?timeout=5s", NULL);
	const char *status = json_string_value(json_object_get(a.json, "status"));

	if (a.status != 200 || !status)
		elastic_not_seen(es, SERVER, "health of the cluster", &a);
	else if (strcmp(status, "green") == 0)
		add(es, FINDING_OK, "", "the cluster is green");
	else if (strcmp(status, "yellow") == 0)
		add(es, FINDING_WARNING,
		    "add a node, or set number_of_replicas to 0: GET /_cluster/allocation/explain says why",
		    "the cluster is yellow: copies are missing, with one more node acknowledged events may be lost");
	else
		add(es, FINDING_PROBLEM,
		    "GET /_cluster/allocation/explain says why; events of these indexes wait",
		    "the cluster is red: some indexes cannot be written");
}

static void check_cluster(struct elastic *es)
{
	auto_answer a = elastic_ask(es, "GET", "/_cluster/settings?flat_settings=true&include_defaults=true",
				    NULL);
	static const char *const blocks[] = { "cluster.blocks.read_only",
					      "cluster.blocks.read_only_allow_delete" };

	if (a.status != 200 || !a.json) {
		elastic_not_seen(es, SERVER, "settings of the cluster", &a);
		return;
	}
	es->settings = json_incref(a.json);
	for (size_t i = 0; i < array_len(blocks); i++) {
		const char *value = elastic_setting(es, blocks[i]);

		if (value && strcmp(value, "true") == 0)
			findings_add(&es->checkup->findings, SERVER, FINDING_PROBLEM,
				     "free the disk, then PUT /_cluster/settings with that set to null",
				     "the whole cluster is read-only (%s)", blocks[i]);
	}
}

static void check_node_clock(struct elastic *es)
{
	int64_t asked_ms = clock_wall_us() / 1000;
	auto_answer a = elastic_ask(es, "GET", "/_nodes/_local/stats/jvm?filter_path=nodes.%2A.timestamp",
				    NULL);
	json_t *nodes = json_object_get(a.json, "nodes");
	void *node = nodes ? json_object_iter(nodes) : NULL;

	if (a.status != 200 || !node) {
		elastic_not_seen(es, SERVER, "its clock", &a);
		return;
	}
	check_clock(es->checkup, SERVER, "set both clocks by NTP: `timedatectl`", asked_ms,
		    json_integer_value(json_object_get(json_object_iter_value(node), "timestamp")));
}

static void check_security(struct elastic *es)
{
	auto_answer a = elastic_ask(es, "GET", "/_security/_authenticate", NULL);
	const char *user = json_string_value(json_object_get(a.json, "username"));

	es->secured = a.status == 200 && user;
	if (es->secured)
		findings_add(&es->checkup->findings, SERVER, FINDING_OK, "", "it knows us as %s", user);
	else
		elastic_not_seen(es, SERVER, "privileges: security is off or of another kind", &a);
}

static void check_targets(struct elastic *es)
{
	struct checkup *c = es->checkup;

	for (int i = 0; i < c->target_count; i++)
		check_index(es, &c->targets[i]);
	if (c->target_count == 0 && !es->gone)
		findings_add(&c->findings, "index", FINDING_OK, "",
			     "no row names an index yet: none was looked at");
	if (c->targets_unseen > 0)
		findings_add(&c->findings, "index", FINDING_OK, "",
			     "%d rows name still other indexes: not looked at", c->targets_unseen);
}

void check_elastic(struct checkup *c)
{
	struct http_settings settings = http_settings_of(c->config, c->version);
	struct elastic es = { .checkup = c };
	struct err e = { 0 };

	if (!*c->config->elasticsearch_url) {
		findings_add(&c->findings, SERVER, FINDING_PROBLEM, "set elasticsearch.url",
			     "no address is set");
		return;
	}
	es.http = http_sync_new(&settings, &e);
	if (!es.http) {
		findings_add(&c->findings, SERVER, FINDING_PROBLEM, "correct the [elasticsearch] settings",
			     "%s", e.text);
		return;
	}
	if (check_connection(&es)) {
		check_clear_text(&es);
		check_security(&es);
		check_health(&es);
		check_cluster(&es);
		check_node_clock(&es);
		check_targets(&es);
	}
	json_decref(es.settings);
	http_sync_free(es.http);
}
