// SPDX-License-Identifier: MIT
// What the parts of a running relay share. relay.c owns it; workers and keeper read it and report to it.
#ifndef OUTBOXD_RUN_STATE_H
#define OUTBOXD_RUN_STATE_H

#include "base/clock.h"
#include "base/config.h"
#include "base/err.h"
#include "core/batch.h"
#include "core/circuit.h"
#include "core/lanes.h"
#include "core/pace.h"
#include "core/suspects.h"
#include "es/http.h"
#include "pg/outbox.h"
#include "run/health.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#define WORKERS_MAX 16
#define BREAKAGES_MAX 64

struct worker;
struct keeper;
struct admin;
struct service;
struct verifier;
struct sweeper;
struct relay_watcher;

// Since the start; claimed = the sum of the fates.
struct tally {
	int64_t claimed;
	int64_t fates[FATE_COUNT_];
	int64_t sieved; // rows made dead because their mapping fails; not in `claimed`
	int64_t requests;
	int64_t unmoved; // of those that wait: no attempt was counted
};
// With the rows that the sieve found, so that the sum holds: their claim failed.
static inline int64_t tally_claimed(const struct tally *t)
{
	return t->claimed + t->sieved;
}
static inline int64_t tally_fate(const struct tally *t, enum fate f)
{
	return t->fates[f] + (f == FATE_DEAD ? t->sieved : 0);
}

enum access {
	ACCESS_FINE,
	ACCESS_DOUBTED,  // the last sign of life was a 401: the next event will show
	ACCESS_DENIED,   // ... and there was none: it is said, and the relay is not ready
	ACCESS_BY_EVENTS // ... and events were accepted all the same: it means nothing
};

struct relay {
	struct ev_loop *loop;
	const struct config *config;
	const char *version;
	bool once;
	const struct relay_watcher *watcher; // NULL = nobody watches
	struct outbox *outbox;
	struct http *http;
	struct rng rng;
	// Decisions:
	struct lanes lanes;
	struct pace pace;
	struct circuit elasticsearch;
	struct circuit postgres;
	struct circuit sql;   // a claim or settlement fails on the side of PostgreSQL
	int busy_claims;      // in a row met a 429
	struct circuit items; // single events are refused for now (429): nothing is claimed for a moment
	int lone_refusals;    // since anything was accepted: see place_blame
	int64_t accepted;     // requests
	struct breakage {
		int64_t id, accepted; // when the connection broke under that event
	} breakages[BREAKAGES_MAX];
	int breakage_count;
	enum access access;
	struct paused_indexes paused;
	struct suspects suspects;
	int64_t document_bytes; // that are read, on average; 0 = unknown
	int64_t plain_reads_ms; // until then the server is not asked for vectors: see worker_read.c
	// Parts:
	struct worker *workers[WORKERS_MAX];
	int worker_count;
	struct worker *prober;  // it asks Elasticsearch for a sign of life, for all
	struct worker *looking; // its claim has not told yet which lanes it got
	struct keeper *keeper;
	struct admin *admin;       // NULL = there is none
	struct verifier *verifier; // NULL = there is none
	struct sweeper *sweeper;   // NULL = there is none, and no index takes queries
	struct health health;
	struct service *service;
	ev_timer pump, limit, stop_limit, tick;
	ev_signal term, intr, usr1;
	// Life:
	int64_t started_ms;
	int64_t highest;  // --once: no row above this id; INT64_MAX for the daemon
	int64_t sequence; // of the ids, 0 = unknown
	bool trigger;     // the table has the wake-up trigger
	bool rotates;     // it has partitions to be made and dropped
	int64_t quiet_until_ms; // nothing is claimed for a moment: a partition is to be made or dropped; 0 = no such thing
	bool test_wakeups; // the keeper listens: some other session shall notify it
	int unheard;       // looks for that notification, in vain
	int64_t future_said_ms, refused_said_ms;
	int sql_empty;     // whole looks that found nothing since it failed
	bool sql_settling; // a settlement failed: a claim that has nothing to settle proves nothing
	bool inspected;    // the table was fit for use at least once
	bool unfit;        // it is not, by the last that was heard ...
	int64_t unfit_ms;  // ... and since then
	bool unfit_told;
	int64_t unfit_said_ms;
	bool disproved; // other sessions settled rows since: it is one session's trouble
	bool stopping;
	bool on_hold;          // an operator wants it so: nothing is claimed
	int syncing;           // clients of POST /sync that wait
	int64_t heard_ms;      // the last word of Elasticsearch
	bool maybe_done;       // --once: a look at every lane found nothing
	bool asked_while_away; // --once: whether there is anything to wait for
	int64_t moved;         // claimed and not given back
	int64_t moved_ms;      // --once: when something was last delivered or given up
	int exit_code;
	int64_t ticks;
	struct tally tally;
};

// Something changed that may let a worker go on; looked at in the next turn of the loop.
void relay_kick(struct relay *r);
bool relay_is_active(const struct relay *r);           // a claim is under way
int64_t relay_reconnect_cap_ms(const struct relay *r); // longest pause between two attempts to connect
// A worker's or the keeper's connection came up, was lost or refused. Says it once per outage.
void relay_postgres_up(struct relay *r);
void relay_postgres_down(struct relay *r, const struct err *e, bool refused); // refused: while connecting
// One session was refused. True: others work, so this is no outage; said once a minute.
bool relay_session_refused(struct relay *r, const struct err *e);
// Called from time to time: says it when no wake-up arrives.
void relay_look_for_wakeups(struct relay *r);
// The table was looked at. False: it cannot be used now.
bool relay_inspected(struct relay *r, const struct inspection *found);
// Elasticsearch did not answer (no word of HTTP: silent), or refused everything; or answered.
struct failure {
	const char *why;
	int64_t retry_after_ms; // -1 = it named no time
	bool silent;
};
void relay_elasticsearch_failed(struct relay *r, const struct failure *failure);
void relay_elasticsearch_works(struct relay *r);
void relay_sign_of_life(struct relay *r, bool denied);
// A sign of life was answered by 401, and there was no event to try. Delivery goes on: a proxy may let nothing but events
// through. Until one is accepted it is said, and the relay is not ready.
void relay_elasticsearch_denies(struct relay *r, const char *why);
// A claim or settlement failed on the side of PostgreSQL.
void relay_sql_failed(struct relay *r, const char *what, const struct err *e);
void relay_index_works(struct relay *r, const char *index, const struct circuit *was);
// An index whose wait is over gets its next events as a probe. They lie behind the bounds, so whoever claims at that moment must
// have asked, or it takes what is younger first.
void relay_probe_paused_indexes(struct relay *r, int64_t now_ms);
const char *relay_paused_index(const char *name); // of the index itself
// Whose events are gone is not paused any more.
void relay_forget_idle_indexes(struct relay *r);
// A claim met items that were refused for now (429), or none.
void relay_items_refused(struct relay *r, bool busy);
void relay_items_taken(struct relay *r);
// Event `id` was refused because of a version that the table never drew.
void relay_future(struct relay *r, int64_t id, int64_t version, int64_t drawn);
// So many rows went dead because a mapping expression fails on them.
void relay_sieved(struct relay *r, int64_t rows);
// False: too many indexes are at fault to wait for each on its own.
bool relay_index_at_fault(struct relay *r, const char *index, const char *type, const char *reason);
// A claim that began at begun_ms went well. What it proves:
enum proof {
	PROOF_CLAIM, // that rows can be claimed
	PROOF_EMPTY, // that no row is left that a settlement could fail on, or that others have it: worth a part of a proof
	PROOF_SETTLED // that rows can be settled
};
void relay_sql_works(struct relay *r, int64_t begun_ms, enum proof proof);
// --once: is anything left that it is there for?
void relay_left_known(struct relay *r, bool left);
void relay_quit(struct relay *r, int exit_code);

#endif
