// SPDX-License-Identifier: MIT
#include "run/health.h"

#include "base/log.h"
#include "base/parse.h"
#include "run/machine.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_MS 60000 // quantiles are of the last one to two minutes
#define PINNED_SECONDS 300
#define SAY_AGAIN_MS 3600000

void health_trouble(struct relay *r, enum trouble_kind kind, const char *event, const char *text)
{
	struct health *h = &r->health;
	struct note *note = &h->notes[h->noted++ % HEALTH_NOTES];

	metrics_add(&h->metrics, METRIC_ERRORS, (int)kind, 1);
	*note = (struct note){ .at_ms = clock_boot_ms(), .event = event };
	utf8_copy(text, note->text, sizeof(note->text));
	utf8_copy(text, h->why[kind], sizeof(h->why[kind]));
}

// Of a slot or a standby nobody can say since when it holds the horizon: then since we have seen it.
static void date_holder(struct health *h, int64_t now_ms)
{
	if (strcmp(h->held_by, h->holder.name) != 0) {
		snprintf(h->held_by, sizeof(h->held_by), "%s", h->holder.name);
		h->held_ms = now_ms;
	}
	if (h->holder.age_seconds < 0)
		h->holder.age_seconds = (double)(now_ms - h->held_ms) / 1000.0;
}

void health_counted(struct relay *r)
{
	struct health *h = &r->health;
	int64_t now_ms = clock_boot_ms();

	backlog_done(&h->backlog);
	h->backlog = h->counting.backlog;
	h->counting.backlog = (struct backlog){ 0 };
	h->holder = h->counting.holder;
	h->counted_ms = now_ms;
	date_holder(h, now_ms);
	if (h->holder.age_seconds < PINNED_SECONDS) {
		if (h->pinned_said_ms)
			log_info("horizon_free", kv_str("then", "dead rows can be vacuumed again"));
		h->pinned_said_ms = 0;
		return;
	}
	if (h->pinned_said_ms && now_ms - h->pinned_said_ms < SAY_AGAIN_MS)
		return;
	h->pinned_said_ms = now_ms;
	log_warn("horizon_pinned", kv_str("kind", h->holder.kind), kv_int("pid", h->holder.pid),
		 kv_str("name", h->holder.name), kv_str("user", h->holder.user),
		 kv_int("seconds", (int64_t)h->holder.age_seconds),
		 kv_str("then", "nothing can be vacuumed until it ends: the table and its indexes grow"));
}

double health_lag(const struct relay *r)
{
	const struct health *h = &r->health;

	if (!h->backlog.known || h->backlog.pending == 0)
		return 0;
	return h->backlog.oldest_seconds + (double)(clock_boot_ms() - h->counted_ms) / 1000.0;
}

static double done_so_far(const struct relay *r)
{
	return (double)(r->tally.fates[FATE_DELIVERED] + r->tally.fates[FATE_SUPERSEDED]);
}

double health_rate(const struct relay *r)
{
	const struct health *h = &r->health;
	int64_t seconds = h->seconds < HEALTH_RATE_SECONDS ? h->seconds : HEALTH_RATE_SECONDS;
	double then = h->seconds < HEALTH_RATE_SECONDS ? 0 : h->done[h->seconds % HEALTH_RATE_SECONDS];

	// cppcheck-suppress knownConditionTrueFalse ; 2.10 takes the smaller of two for 0
	return seconds > 0 ? (done_so_far(r) - then) / (double)seconds : 0;
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct relay *r = timer->data;
	struct health *h = &r->health;
	int64_t now_ms = clock_boot_ms();

	(void)loop;
	(void)revents;
	h->done[h->seconds++ % HEALTH_RATE_SECONDS] = done_so_far(r);
	if (now_ms - h->turned_ms < WINDOW_MS)
		return;
	h->turned_ms = now_ms;
	h->delivery[0] = h->delivery[1];
	h->bulk[0] = h->bulk[1];
	metrics_counts(&h->metrics, METRIC_DELIVERY, &h->delivery[1]);
	metrics_counts(&h->metrics, METRIC_BULK_SECONDS, &h->bulk[1]);
}

void health_start(struct relay *r)
{
	struct health *h = &r->health;

	metrics_init(&h->metrics, r->version);
	metrics_set(&h->metrics, METRIC_START, 0, (double)clock_wall_us() / 1e6);
	h->turned_ms = clock_boot_ms();
	ev_timer_init(&h->tick, on_tick, 1., 1.);
	h->tick.data = r;
	if (!r->once)
		ev_timer_start(r->loop, &h->tick);
}

void health_stop(struct relay *r)
{
	ev_timer_stop(r->loop, &r->health.tick);
	backlog_done(&r->health.backlog);
	backlog_done(&r->health.counting.backlog);
}

static bool is_away(const struct circuit *c)
{
	return c->open && !circuit_is_untested(c);
}

bool health_ready(const struct relay *r, bool tell_why, struct buf *reasons)
{
	const struct health *h = &r->health;
	const struct {
		bool is;
		const char *what, *why;
	} rows[] = {
		{ r->stopping, "stopping", "" },
		{ r->on_hold, "paused by an operator", "" },
		{ circuit_is_untested(&r->postgres), "PostgreSQL has not answered yet", "" },
		{ is_away(&r->postgres), "PostgreSQL is away", h->why[TROUBLE_POSTGRES] },
		{ r->unfit, "the table cannot be used", h->why[TROUBLE_TABLE] },
		{ r->sql.open, "PostgreSQL refuses", h->why[TROUBLE_SQL] },
		{ circuit_is_untested(&r->elasticsearch), "Elasticsearch has not answered yet", "" },
		{ is_away(&r->elasticsearch), "Elasticsearch is away", h->why[TROUBLE_ELASTICSEARCH] },
		{ r->access == ACCESS_DENIED && !r->elasticsearch.open, "Elasticsearch denies access",
		  h->why[TROUBLE_ELASTICSEARCH] },
	};
	bool ready = true;

	for (size_t i = 0; i < array_len(rows); i++) {
		if (!rows[i].is)
			continue;
		ready = false;
		buf_adds(reasons, rows[i].what);
		if (tell_why && *rows[i].why)
			buf_addf(reasons, ": %s", rows[i].why);
		buf_addc(reasons, '\n');
	}
	return ready;
}

static double open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	double n = -3; // ".", ".." and the directory itself

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static double resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long all = 0, resident = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%ld %ld", &all, &resident) != 2) // NOLINT(cert-err34-c): the kernel writes numbers
		resident = 0;
	fclose(file);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void sample_process(struct metrics *m)
{
	struct rusage use;

	if (getrusage(RUSAGE_SELF, &use) == 0)
		metrics_set(m, METRIC_CPU, 0,
			    (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
				    (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
	metrics_set(m, METRIC_RSS, 0, resident_bytes());
	metrics_set(m, METRIC_FDS, 0, open_files());
}

static void sample_table(struct relay *r)
{
	struct metrics *m = &r->health.metrics;
	const struct backlog *b = &r->health.backlog;
	int64_t counted_ms = r->health.counted_ms ? r->health.counted_ms : r->started_ms;

	metrics_set(m, METRIC_BACKLOG_AGE, 0, (double)(clock_boot_ms() - counted_ms) / 1000.0);
	metrics_set(m, METRIC_PENDING, 0, b->known ? (double)b->pending : NAN);
	metrics_set(m, METRIC_WAITING, 0, b->known ? (double)b->waiting : NAN);
	metrics_set(m, METRIC_DEAD, 0, b->known ? (double)b->dead : NAN);
	metrics_set(m, METRIC_OLDEST, 0, b->known ? health_lag(r) : NAN);
	metrics_set(m, METRIC_HORIZON, 0,
		    !b->known                ? NAN
		    : *r->health.holder.kind ? r->health.holder.age_seconds
					     : 0);
}

void health_sample(struct relay *r)
{
	struct metrics *m = &r->health.metrics;
	int states[W_STATE_COUNT_] = { 0 };
	auto_buf reasons = { 0 };

	buf_init(&reasons, 4096);
	metrics_set(m, METRIC_CLAIMED, 0, (double)tally_claimed(&r->tally));
	for (int f = 0; f < FATE_COUNT_; f++)
		metrics_set(m, METRIC_EVENTS, f, (double)tally_fate(&r->tally, (enum fate)f));
	for (int i = 0; i < r->worker_count; i++)
		states[r->workers[i]->state]++;
	for (int s = 0; s < W_STATE_COUNT_; s++)
		metrics_set(m, METRIC_WORKER_STATE, s, states[s]);
	metrics_set(m, METRIC_SERVER_UP, SERVER_POSTGRES, !r->postgres.open);
	metrics_set(m, METRIC_SERVER_UP, SERVER_ELASTICSEARCH, !r->elasticsearch.open);
	metrics_set(m, METRIC_READY, 0, health_ready(r, true, &reasons));
	metrics_set(m, METRIC_PAUSED, 0, r->on_hold);
	metrics_set(m, METRIC_PAUSED_INDEXES, 0, r->paused.count);
	sample_table(r);
	sample_process(m);
}
