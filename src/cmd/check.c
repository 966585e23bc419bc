// SPDX-License-Identifier: MIT
// `outboxd check`: looks at both servers as the relay will meet them, and says what to do. Changes nothing, except with
// --raise-sequence.
#include "cmd/check.h"

#include "base/buf.h"
#include "base/clock.h"
#include "cmd/command.h"
#include "cmd/relay_says.h"
#include "cmd/table.h"
#include "pg/operator.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_MAX_MS 5000

static int raise_sequence(const struct call *call, struct err *e)
{
	struct pg_result *res = operator_raise_sequence(call->config, e);

	if (!res)
		return err_exit_code(e->kind);
	if (call->json)
		table_print(res, true);
	else if (strcmp(sync_text(res, 0, 0), "0") == 0)
		printf("no event waits for a version from the future: nothing to do\n");
	else
		printf("sequence raised to %s, %s undelivered events numbered anew\n", sync_text(res, 0, 0),
		       sync_text(res, 0, 1));
	sync_free(res);
	return 0;
}

// It was read and found valid, or we would not be here.
static void check_configuration(struct checkup *c)
{
	const char *path = config_path(c->config);

	findings_add(&c->findings, "configuration", FINDING_OK, "",
		     path ? "valid, from %s, the environment and flags"
			  : "valid, from the environment and flags%s",
		     path ? path : "");
}

// It sees what we cannot: that somebody paused it, or that it cannot reach what we can.
static void check_relay(struct checkup *c)
{
	bool off = strcmp(c->config->admin_listen, "off") == 0;
	enum finding_state state = FINDING_OK;
	auto_buf what = { 0 }, advice = { 0 };
	struct relay_says says;

	buf_init(&what, 64 * 1024);
	buf_init(&advice, 64 * 1024);
	relay_says_ask(c->config, &says);
	relay_says_text(&says, &what);
	if (says.paused) {
		state = FINDING_PROBLEM;
		relay_says_resume(&says, c->config, &advice);
	} else if (says.state == RELAY_NOT_READY) {
		state = FINDING_AWAY;
		buf_adds(&advice,
			 "what is found below, or its log (journalctl -u outboxd); it tries again by itself");
	} else if (says.state == RELAY_SILENT) {
		state = FINDING_PROBLEM;
		buf_adds(&advice, "systemctl restart outboxd, unless systemd does it by itself");
	} else if (says.state == RELAY_NOT_ASKED && !off) {
		state = FINDING_WARNING;
		buf_adds(&advice, "correct admin.listen: a relay would not start with it on this host");
	}
	findings_add(&c->findings, "relay", state, buf_str(&advice), "%s", buf_str(&what));
	relay_says_done(&says);
}

void check_clock(struct checkup *c, const char *area, const char *advice, int64_t asked_ms, int64_t theirs_ms)
{
	int64_t now_ms = clock_wall_us() / 1000;
	int64_t off_ms = theirs_ms > now_ms     ? theirs_ms - now_ms
			 : theirs_ms < asked_ms ? theirs_ms - asked_ms
						: 0;
	bool fine = off_ms <= CLOCK_MAX_MS && off_ms >= -CLOCK_MAX_MS;

	findings_add(&c->findings, area, fine ? FINDING_OK : FINDING_WARNING, advice,
		     fine ? "its clock agrees with this host's (%.1f s)"
			  : "its clock is %.1f s off this host's",
		     (double)off_ms / 1000.0);
}

int cmd_check(const struct call *call, struct err *e)
{
	struct checkup c = { .config = call->config, .version = call->version };
	int code;

	if (call->raise_sequence)
		return raise_sequence(call, e);
	findings_init(&c.findings);
	check_configuration(&c);
	check_relay(&c);
	check_postgres(&c);
	check_elastic(&c);
	findings_print(&c.findings, call->json);
	code = findings_exit_code(&c.findings);
	for (int i = 0; i < c.target_count; i++) {
		free(c.targets[i].index);
		json_decref(c.targets[i].ids);
	}
	findings_done(&c.findings);
	return code;
}
