// SPDX-License-Identifier: MIT
// --once says nothing but WATCHDOG: it is no service, and READY of one that runs before another would be a lie.
#include "run/service.h"

#include "base/mem.h"
#include "base/sd_notify.h"
#include "run/state.h"

#include <inttypes.h>
#include <string.h>

#define STATUS_S 2.0
#define TEXT_MAX 512
#define LEAST_BEAT_S 0.01
// For what comes after shutdown_timeout: sessions are closed and the last line is logged.
#define GRACE_MS 5000

struct service {
	struct relay *relay;
	ev_timer beat;   // half of the watchdog's period
	ev_timer status; // its first turn says READY
	bool ready;
	char said[TEXT_MAX];
};

// "12 pending, oldest 3 s, 250/s, 1 dead; Elasticsearch is away: connection refused"
static void describe(const struct relay *r, struct buf *out)
{
	const struct backlog *b = &r->health.backlog;
	double rate = health_rate(r);
	auto_buf reasons = { 0 };

	buf_init(&reasons, 4096);
	if (b->known) {
		buf_addf(out, "%" PRId64 " pending", b->pending);
		if (b->pending > 0)
			buf_addf(out, ", oldest %.0f s", health_lag(r));
	} else {
		buf_adds(out, "not counted yet");
	}
	buf_addf(out, rate > 0 && rate < 10 ? ", %.1f/s" : ", %.0f/s", rate);
	if (b->dead > 0)
		buf_addf(out, ", %" PRId64 " dead", b->dead);
	if (r->paused.count > 0)
		buf_addf(out, ", %d indexes paused", r->paused.count);
	if (health_ready(r, true, &reasons))
		return;
	for (const char *line = buf_str(&reasons); *line; line += strcspn(line, "\n"), line += *line == '\n')
		buf_addf(out, "; %.*s", (int)strcspn(line, "\n"), line);
}

void service_beat(struct service *s)
{
	if (ev_is_active(&s->beat))
		sd_notify("WATCHDOG=1", "");
}

static void on_beat(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	service_beat(timer->data);
}

static void on_status(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct service *s = timer->data;
	char text[TEXT_MAX];
	auto_buf now = { 0 };

	(void)loop;
	(void)revents;
	buf_init(&now, 8192);
	describe(s->relay, &now);
	snprintf(text, sizeof(text), "%s", buf_str(&now));
	if (s->ready && strcmp(text, s->said) == 0)
		return;
	// What was not taken is said again the next time.
	if (!sd_notify(s->ready ? "" : "READY=1", text))
		return;
	s->ready = true;
	memcpy(s->said, text, sizeof(text));
}

static void start(struct ev_loop *loop, ev_timer *timer)
{
	ev_timer_start(loop, timer);
	ev_feed_event(loop, timer, EV_TIMER);
}

struct service *service_new(struct relay *r)
{
	struct service *s = mem_calloc(1, sizeof(*s));
	double half = (double)sd_watchdog_us() / 2e6;

	s->relay = r;
	s->beat.data = s->status.data = s;
	if (half < LEAST_BEAT_S)
		half = LEAST_BEAT_S;
	ev_timer_init(&s->beat, on_beat, half, half);
	ev_timer_init(&s->status, on_status, STATUS_S, STATUS_S);
	// Both begin before the workers connect, see service_beat: READY must not wait for a name server.
	ev_set_priority(&s->beat, EV_MAXPRI);
	ev_set_priority(&s->status, EV_MAXPRI);
	if (sd_watchdog_us() > 0)
		start(r->loop, &s->beat);
	if (!r->once)
		start(r->loop, &s->status);
	return s;
}

void service_stopping(struct service *s)
{
	const struct relay *r = s->relay;
	int64_t patience_ms = r->config->relay_shutdown_timeout + GRACE_MS;
	char lines[96];

	if (r->once)
		return;
	ev_timer_stop(r->loop, &s->status);
	// Never shortens TimeoutStopSec.
	snprintf(lines, sizeof(lines), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, patience_ms * 1000);
	sd_notify(lines, "finishing what is in flight");
}

void service_free(struct service *s)
{
	ev_timer_stop(s->relay->loop, &s->beat);
	ev_timer_stop(s->relay->loop, &s->status);
	free(s);
}
