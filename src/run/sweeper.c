// SPDX-License-Identifier: MIT
#include "run/sweeper.h"

#include "base/log.h"
#include "base/mem.h"
#include "run/child.h"
#include "run/state.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 64 // what finds no place comes again
#define LOOK_MS 5000   // whatever runs for longer is at work
#define LONG_S 60      // a wait that is worth a line in the log, and how long until the next one

struct sweeper {
	struct relay *relay;
	char **command; // the last argument before its end is `id`
	char id[24];
	struct child child;
	int64_t waiting[WAITING_MAX];
	int count;
	int64_t said_ms; // that something waits
	int64_t begun_ms;
};

static void failed(const struct sweeper *s, const char *why, const char *type)
{
	log_warn("delete_by_query_failed", kv_str("id", s->id), kv_str("error", why), kv_str("type", type),
		 kv_str("then", "it is tried again"));
}

// The reason itself may quote documents: it is in the row.
static void tell_wait(struct sweeper *s, const json_t *report)
{
	int64_t waited_s = report_number(report, "waited_seconds"), now_ms = clock_boot_ms();

	if (waited_s < LONG_S || (s->said_ms != 0 && now_ms - s->said_ms < LONG_S * 1000))
		return;
	s->said_ms = now_ms;
	log_warn("delete_by_query_waits", kv_int("id", report_number(report, "event")),
		 kv_str("index", report_text(report, "index")),
		 kv_str("for", report_text(report, "waits_for")),
		 kv_int("status", report_number(report, "status")),
		 kv_str("type", report_text(report, "type")), kv_int("seconds", waited_s));
}

// The claim that met it counted an event that waits; that it is done is counted as if it had been met once more.
static void count(struct relay *r, enum fate fate)
{
	r->tally.claimed++;
	r->tally.fates[fate]++;
}

static void tell(struct sweeper *s, const json_t *report)
{
	const char *outcome = report_text(report, "outcome");
	int64_t id = report_number(report, "event");

	if (strcmp(outcome, "delivered") == 0) {
		count(s->relay, FATE_DELIVERED);
		log_info("delete_by_query", kv_int("id", id), kv_str("index", report_text(report, "index")),
			 kv_int("deleted", report_number(report, "deleted")),
			 kv_int("newer", report_number(report, "newer")),
			 kv_real("seconds", json_real_value(json_object_get(report, "seconds"))),
			 kv_int("waited_seconds", report_number(report, "waited_seconds")));
	} else if (strcmp(outcome, "dead") == 0) {
		count(s->relay, FATE_DEAD);
		log_error("events_dead", kv_int("events", 1), kv_int("first_id", id),
			  kv_str("type", report_text(report, "type")),
			  kv_int("status", report_number(report, "status")), kv_str("see", "outboxd dead"));
	} else if (strcmp(outcome, "failed") == 0) {
		failed(s, report_text(report, "waits_for"), report_text(report, "type"));
	} else {
		tell_wait(s, report); // or another relay was faster: its own says what became of it
	}
}

// -- the process

static void begin_next(struct sweeper *s)
{
	const struct relay *r = s->relay;
	int failure;

	if (r->stopping || (r->on_hold && !r->once))
		s->count = 0; // they come again
	if (s->count == 0 || child_runs(&s->child))
		return;
	snprintf(s->id, sizeof(s->id), "%" PRId64, s->waiting[0]);
	memmove(s->waiting, s->waiting + 1, sizeof(*s->waiting) * (size_t)--s->count);
	s->begun_ms = clock_boot_ms();
	failure = child_begin(&s->child, s->command, r->config->postgres_dsn);
	if (failure != 0)
		failed(s, strerror(failure), "");
}

static void on_end(void *arg, json_t *report, const char *why)
{
	struct sweeper *s = arg;
	struct relay *r = s->relay;

	if (json_is_object(report))
		tell(s, report);
	else
		failed(s, why, "");
	begin_next(s);
	r->maybe_done = r->once;
	relay_kick(r);
}

struct sweeper *sweeper_new(struct relay *r, char *const *command)
{
	struct sweeper *s = mem_calloc(1, sizeof(*s));
	size_t words = 0;

	s->relay = r;
	while (command[words])
		words++;
	s->command = mem_calloc(words + 2, sizeof(char *));
	memcpy(s->command, command, words * sizeof(char *));
	s->command[words] = s->id;
	child_init(&s->child, r->loop, on_end, s);
	return s;
}

void sweeper_free(struct sweeper *s)
{
	if (!s)
		return;
	child_done(&s->child);
	free(s->command);
	free(s);
}

void sweeper_take(struct sweeper *s, int64_t id)
{
	bool known = child_runs(&s->child) && strtoll(s->id, NULL, 10) == id;

	for (int i = 0; i < s->count && !known; i++)
		known = s->waiting[i] == id;
	if (!known && s->count < WAITING_MAX)
		s->waiting[s->count++] = id;
	begin_next(s);
}

bool sweeper_is_busy(const struct sweeper *s)
{
	return s && child_runs(&s->child);
}

bool sweeper_works(const struct sweeper *s)
{
	return sweeper_is_busy(s) && clock_boot_ms() - s->begun_ms > LOOK_MS;
}

void sweeper_stop(struct sweeper *s)
{
	if (s)
		child_ask_to_end(&s->child);
}
