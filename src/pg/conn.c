// SPDX-License-Identifier: MIT
//
//   CLOSED --conn_open--> OPENING --up--> READY --conn_run--> BUSY --done--> READY
//      ^                     |              |                  |  \_ paused (reading stopped)
//      +------- down --------+--------------+------------------+
#include "pg/conn.h"

#include "base/attr.h"
#include "base/clock.h"
#include "base/mem.h"
#include "pg/discreet.h"
#include "pg/hosts.h"
#include "pg/plans.h"
#include "pg/sslmode.h"

#include <assert.h>
#include <ev.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

// With several hosts one that does not answer gets less time: the next one may.
#define SEVERAL_HOSTS_FACTOR 4

enum conn_state { CLOSED, OPENING, READY, BUSY };

struct conn {
	struct ev_loop *loop;
	const struct conn_callbacks *callbacks;
	void *arg;
	char *dsn;
	int hosts, turn; // how many the dsn names, and which of them is tried first
	PGconn *pg;
	enum conn_state state;
	ev_io io;
	ev_timer
		timeout; // of OPENING; every other wait is bounded by the owner and by the server's time-outs
	// The script that runs:
	int step, step_count;
	bool stream[SCRIPT_STEPS_MAX];
	// What was sent for it, in order, and what the results that come are of: true = not of a step, but of what prepares one.
	bool ahead[2 * SCRIPT_STEPS_MAX + 2];
	int sent, answered;
	struct plans plans;
	bool paused;
	bool notified;   // not told yet
	bool at_rest;    // some of it came while no script ran
	char fatal[256]; // the server's last word, "" = none
	struct script_result result;
};

static void on_io(struct ev_loop *loop, ev_io *w, int revents);
static void on_timeout(struct ev_loop *loop, ev_timer *w, int revents);

struct conn *conn_new(struct ev_loop *loop, const char *dsn, const struct conn_callbacks *callbacks,
		      void *arg)
{
	struct conn *c = mem_calloc(1, sizeof(*c));

	c->loop = loop;
	c->dsn = mem_strdup(dsn);
	c->hosts = hosts_count(dsn);
	c->callbacks = callbacks;
	c->arg = arg;
	ev_init(&c->io, on_io);
	ev_init(&c->timeout, on_timeout);
	c->io.data = c->timeout.data = c;
	return c;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	conn_close(c);
	explicit_bzero(c->dsn, strlen(c->dsn)); // it may hold a password
	free(c->dsn);
	free(c);
}

bool conn_is_up(const struct conn *c)
{
	return c->state == READY || c->state == BUSY;
}

void conn_close(struct conn *c)
{
	ev_io_stop(c->loop, &c->io);
	ev_timer_stop(c->loop, &c->timeout);
	PQfinish(c->pg);
	c->pg = NULL;
	c->state = CLOSED;
	c->paused = c->notified = c->at_rest = false;
}

// The socket may change between the steps of connecting (several hosts), even to another one with the same number, of
// which epoll knows nothing: so it is watched anew at each.
static void watch(struct conn *c, int events)
{
	int fd = PQsocket(c->pg);

	if (c->state != OPENING && ev_is_active(&c->io) && c->io.fd == fd &&
	    (c->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(c->loop, &c->io);
	if (events && fd >= 0) {
		ev_io_set(&c->io, fd, events);
		ev_io_start(c->loop, &c->io);
	}
}

static void one_line(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++) {
		char ch = *p == '\n' || *p == '\t' ? ' ' : *p;

		if (ch != ' ' || (to > text && to[-1] != ' '))
			*to++ = ch;
	}
	if (to > text && to[-1] == ' ')
		to--;
	*to = '\0';
}

// Closes and tells. The sentence of libpq ends with a newline and may have several lines.
static void fail(struct conn *c, const char *text)
{
	struct err e = { 0 };

	if (*c->fatal)
		text = c->fatal;
	if (!text || !*text)
		text = "connection lost";
	err_set(&e, ERR_UNAVAILABLE, "%s%s", text, sslmode_hint(text));
	one_line(e.text);
	conn_close(c);
	c->callbacks->down(c->arg, &e);
}

// The server's own reason for ending a session comes as an error of no statement, or as one of ours, before the
// connection breaks; libpq's text afterwards only guesses.
static void note_fatal(struct conn *c, const PGresult *res)
{
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	if (!severity) // poolers send only the other one
		severity = PQresultErrorField(res, PG_DIAG_SEVERITY);
	if (severity && text && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
		snprintf(c->fatal, sizeof(c->fatal), "%s", text);
}

static void on_notice(void *arg, const PGresult *res)
{
	note_fatal(arg, res);
}

// What libpq would leave to the kernel's patience of hours is noticed within seconds. The dsn overrides: it comes
// last. Nothing else is set at start, since a transaction pooler refuses unknown start parameters.
static PGconn *start(const char *dsn)
{
	static const char *const keys[] = { "fallback_application_name",
					    "client_encoding",
					    "connect_timeout",
					    "keepalives_idle",
					    "keepalives_interval",
					    "keepalives_count",
					    "tcp_user_timeout",
					    "dbname",
					    NULL };
	const char *const values[] = { "outboxd", "UTF8", "10", "10", "5", "3", "20000", dsn, NULL };

	return PQconnectStartParams(keys, values, 1);
}

void conn_open(struct conn *c, int64_t timeout_ms)
{
	assert(c->state == CLOSED);
	struct rng rng;
	char *dsn = hosts_rotated(c->dsn, c->turn);

	c->state = OPENING;
	c->fatal[0] = '\0';
	rng_seed_from_system(&rng);
	plans_begin(&c->plans, rng_next(&rng));
	c->pg = start(dsn);
	explicit_bzero(dsn, strlen(dsn));
	free(dsn);
	ev_timer_set(&c->timeout, (double)timeout_ms / (c->hosts > 1 ? SEVERAL_HOSTS_FACTOR : 1) / 1000.0,
		     0.);
	ev_timer_start(c->loop, &c->timeout);
	if (!c->pg || PQstatus(c->pg) == CONNECTION_BAD) {
		// Reported through the loop, like any other failure.
		ev_feed_event(c->loop, &c->timeout, EV_TIMER);
		return;
	}
	PQsetNoticeReceiver(c->pg, on_notice, c);
	watch(c, EV_WRITE);
}

static void on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct conn *c = w->data;

	(void)loop;
	(void)revents;
	if (c->state != OPENING)
		return;
	if (c->pg && PQstatus(c->pg) == CONNECTION_BAD)
		fail(c, PQerrorMessage(c->pg));
	else {
		c->turn = (c->turn + 1) % c->hosts;
		fail(c, "no answer while connecting");
	}
}

static void open_step(struct conn *c)
{
	switch (PQconnectPoll(c->pg)) {
	case PGRES_POLLING_READING:
		watch(c, EV_READ);
		return;
	case PGRES_POLLING_WRITING:
		watch(c, EV_WRITE);
		return;
	case PGRES_POLLING_OK:
		if (PQsetnonblocking(c->pg, 1) != 0 || !PQenterPipelineMode(c->pg)) {
			fail(c, PQerrorMessage(c->pg));
			return;
		}
		ev_timer_stop(c->loop, &c->timeout);
		c->state = READY;
		watch(c, EV_READ);
		c->callbacks->up(c->arg);
		return;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		break;
	}
	fail(c, PQerrorMessage(c->pg));
}

// Before a statement with a name: what the session is to forget first, and what it does not know yet.
static bool send_ahead(struct conn *c, const char *sql, char name[static PLANS_NAME_MAX])
{
	int64_t now_ms = clock_boot_ms();

	if (plans_are_stale(&c->plans, now_ms)) {
		plans_forget(&c->plans);
		c->ahead[c->sent++] = true;
		if (!PQsendQueryParams(c->pg, "DEALLOCATE ALL", 0, NULL, NULL, NULL, NULL, 1))
			return false;
	}
	if (plans_name(&c->plans, sql, now_ms, name))
		return true;
	c->ahead[c->sent++] = true;
	return PQsendPrepare(c->pg, name, sql, 0, NULL);
}

// Not what begins a script while there is something to forget: that would take a snapshot, and after one BEGIN cannot choose its
// isolation any more.
static bool goes_by_name(const struct conn *c, const struct step *s)
{
	return s->kept && plans_are_kept(&c->plans) &&
	       (c->sent > 0 || !plans_are_stale(&c->plans, clock_boot_ms()));
}

static bool send_step(struct conn *c, const struct step *s)
{
	const char *values[8];
	int lengths[8], formats[8];
	char name[PLANS_NAME_MAX];
	bool kept = goes_by_name(c, s);

	assert(s->param_count <= 8);
	for (int i = 0; i < s->param_count; i++) {
		values[i] = s->params[i].data;
		lengths[i] = s->params[i].len;
		formats[i] = s->params[i].binary;
	}
	if (kept && !send_ahead(c, s->sql, name))
		return false;
	c->ahead[c->sent++] = false;
	if (kept)
		return PQsendQueryPrepared(c->pg, name, s->param_count, values, lengths, formats, 1);
	return PQsendQueryParams(c->pg, s->sql, s->param_count, NULL, values, lengths, formats, 1);
}

// Sends what libpq still holds back. While it cannot, both directions are watched: the server may be waiting for
// us to read before it reads on.
static bool flush(struct conn *c)
{
	int left = PQflush(c->pg);

	if (left >= 0)
		watch(c, (c->paused ? 0 : EV_READ) | (left ? EV_WRITE : 0));
	return left >= 0;
}

void conn_run(struct conn *c, const struct step *steps, int count)
{
	bool ok = true;

	assert(c->state == READY && count > 0 && count < SCRIPT_STEPS_MAX && !steps[0].stream);
	c->state = BUSY;
	c->step = c->sent = c->answered = 0;
	c->step_count = count;
	c->paused = false;
	c->result = (struct script_result){ .ok = true };
	for (int i = 0; i < count && ok; i++) {
		c->stream[i] = steps[i].stream;
		ok = send_step(c, &steps[i]);
	}
	if (!ok || !PQpipelineSync(c->pg) || !flush(c))
		ev_feed_event(c->loop, &c->io, EV_READ); // the next read finds the connection broken
}

void conn_meet(struct conn *c, int64_t backend_pid)
{
	plans_meet(&c->plans, PQbackendPID(c->pg), backend_pid);
}

void conn_resume(struct conn *c)
{
	assert(c->state == BUSY && c->paused);
	c->paused = false;
	watch(c, EV_READ);
	// Rows may already stand in libpq's buffer, where no socket event will tell of them.
	ev_feed_event(c->loop, &c->io, EV_READ);
}

static void note_error(struct conn *c, const PGresult *res)
{
	note_fatal(c, res);
	if (!c->result.ok)
		return;
	c->result.ok = false;
	c->result.failed_step = c->step;
	discreet_error((const struct pg_result *)res, &c->result.error);
	plans_failed(&c->plans, c->result.error.sqlstate);
}

static bool hand_rows(struct conn *c, const PGresult *res)
{
	bool go_on = true;

	c->result.affected[c->step] += PQntuples(res);
	for (int r = 0; r < PQntuples(res) && c->callbacks->row; r++)
		go_on = c->callbacks->row(c->arg, c->step, res, r) && go_on;
	return go_on;
}

// Takes one result. Returns false when reading has to stop after it.
static bool take(struct conn *c, PGresult *res)
{
	switch ((int)PQresultStatus(res)) { // a newer libpq knows more of them
	case PGRES_SINGLE_TUPLE:
	case PGRES_TUPLES_OK:
		return hand_rows(c, res);
	case PGRES_COMMAND_OK:
		c->result.affected[c->step] = strtoll(PQcmdTuples(res), NULL, 10);
		// COMMIT of a failed transaction is answered by ROLLBACK, without an error.
		if (c->result.ok && strcmp(PQcmdStatus(res), "ROLLBACK") == 0)
			c->result.affected[c->step] = -1;
		return true;
	case PGRES_PIPELINE_SYNC:
		c->state = READY;
		return true;
	case PGRES_FATAL_ERROR:
	case PGRES_BAD_RESPONSE:
	case PGRES_NONFATAL_ERROR:
		note_error(c, res);
		return true;
	default:
		return true;
	}
}

// Reads results until the script ends, nothing is left to read, or the owner asks to stop.
static void read_results(struct conn *c)
{
	while (c->state == BUSY && !c->paused && !PQisBusy(c->pg)) {
		PGresult *res = PQgetResult(c->pg);

		if (!res) {
			// The end of one statement; the mode of the next one is set before its first result.
			if (PQstatus(c->pg) == CONNECTION_BAD || c->answered == c->sent)
				return;
			c->step += !c->ahead[c->answered++];
			if (c->answered < c->sent && !c->ahead[c->answered] && c->stream[c->step])
				PQsetSingleRowMode(c->pg);
			continue;
		}
		c->paused = !take(c, res);
		PQclear(res);
	}
}

static void drain_notifies(struct conn *c, bool was_busy)
{
	PGnotify *n;

	while ((n = PQnotifies(c->pg))) {
		PQfreemem(n);
		c->notified = true;
		c->at_rest = c->at_rest || !was_busy;
	}
}

// One callback a turn, as the last thing in it.
static void tell(struct conn *c, bool was_busy)
{
	if (c->paused) {
		watch(c, 0);
		c->callbacks->paused(c->arg);
	} else if (was_busy && c->state == READY) {
		if (c->notified)
			ev_feed_event(c->loop, &c->io, EV_READ); // told in the next turn
		c->callbacks->done(c->arg, &c->result);
	} else if (c->notified) {
		bool at_rest = c->at_rest;

		c->notified = c->at_rest = false;
		if (c->callbacks->notified)
			c->callbacks->notified(c->arg, at_rest);
	}
}

static void on_io(struct ev_loop *loop, ev_io *w, int revents)
{
	struct conn *c = w->data;
	bool was_busy = c->state == BUSY;

	(void)loop;
	(void)revents;
	if (c->state == CLOSED)
		return;
	if (c->state == OPENING) {
		open_step(c);
		return;
	}
	if (c->paused && was_busy) { // only the rest of the script's own bytes may go out
		if (!flush(c))
			fail(c, PQerrorMessage(c->pg));
		return;
	}
	if (!PQconsumeInput(c->pg) || !flush(c)) {
		char text[512];

		snprintf(text, sizeof(text), "%s", PQerrorMessage(c->pg));
		(void)PQisBusy(c->pg); // reads what came before the end, which may say why
		read_results(c);
		fail(c, text);
		return;
	}
	read_results(c);
	drain_notifies(c, was_busy);
	if (PQstatus(c->pg) == CONNECTION_BAD) {
		fail(c, PQerrorMessage(c->pg));
		return;
	}
	tell(c, was_busy);
}

void conn_add_version(struct buf *out)
{
	int version = PQlibVersion();

	buf_addf(out, "libpq %d.%d", version / 10000, version % 10000);
}
