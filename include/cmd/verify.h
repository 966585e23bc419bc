// SPDX-License-Identifier: MIT
// `outboxd verify` in three parts: the command, the scan of both sides, and the doubts that it finds.
//
// Both sides change while they are compared, so a difference is only a doubt. It is a fact after three looks in a row that
// agree: each asks Elasticsearch first, then reads the row and its undelivered events in one snapshot. If nothing waits for
// delivery before and after the version was read, and row and version stay the same, then what stands there is the last that
// was delivered, and it is not what the row says.
#ifndef OUTBOXD_CMD_VERIFY_H
#define OUTBOXD_CMD_VERIFY_H

#include "base/err.h"
#include "es/http.h"
#include "pg/verify.h"

#include <stdbool.h>
#include <stdint.h>

#define DOUBTS_MAX 10000 // then they are settled before the scan goes on
#define SAMPLES_MAX 20

enum difference { MISSING, STALE, EXTRA, DIFFERENCES };
const char *difference_name(enum difference d);

struct verified {
	int64_t rows, documents; // read; of which documents are to be there
	int64_t ids;             // seen in the index
	int64_t found[DIFFERENCES];
	int64_t repaired;
	int64_t waiting; // could not be judged: their events wait for delivery
	struct sample {
		enum difference what;
		char *key;
	} samples[SAMPLES_MAX];
	int sample_count;
};

struct doubts;
struct http_sync;

// Borrows all of them. patience_ms = how long the events of a document may wait for delivery.
struct doubts *doubts_new(struct verify *v, struct http_sync *http, struct verified *sums, bool repair,
			  int64_t patience_ms);
void doubts_free(struct doubts *d); // NULL is fine
void doubts_add(struct doubts *d, const char *key);
int64_t doubts_count(const struct doubts *d);
// One look at each. Those that are settled leave.
bool doubts_look(struct doubts *d, struct err *e) must_check;

// 2xx is an answer; one that is too large is ERR_DATA. The reply is borrowed until the next one.
bool verify_ask_once(struct http_sync *http, const char *method, const char *path, const char *body,
		     const struct http_reply **ret, struct err *e) must_check;
bool verify_ask_within(struct http_sync *http, const char *method, const char *path, const char *body,
		       int64_t timeout_ms, const struct http_reply **ret, struct err *e) must_check;
// The same again and again while Elasticsearch is away or busy, for a while.
bool verify_ask(struct http_sync *http, const char *method, const char *path, const char *body,
		const struct http_reply **ret, struct err *e) must_check;
// After a failure that may pass (a shard or a table that is away): pauses, and says whether to try again. *away_ms = since when it
// fails, kept by the caller, who sets it to 0 after a success.
bool verify_comes_again(int64_t *away_ms, struct err *e) must_check;

// Every row against its document, then every document against its row; at most `rate` of both a second, 0 = as fast as it
// goes. `show` is called with the progress.
bool verify_scan(struct verify *v, struct http_sync *http, struct doubts *d, struct verified *sums,
		 int64_t rate, void (*show)(void *arg), void *arg, struct err *e) must_check;

#endif
