// SPDX-License-Identifier: MIT
// `outboxd sweep` in two parts: the command, which knows when a delete_by_query may be carried out and what becomes of its event,
// and the pass over the documents that its query finds.
#ifndef OUTBOXD_CMD_SWEEP_H
#define OUTBOXD_CMD_SWEEP_H

#include "base/config.h"
#include "base/err.h"
#include "core/row.h"
#include "es/http_sync.h"

#include <stdbool.h>
#include <stdint.h>

struct desk;

struct sweep {
	const struct config *config;
	struct desk *desk;
	struct http_sync *http;
	const char *id;       // of the event
	struct pg_result *of; // what sweep_hold.sql said of it
	struct row row;       // borrows from that
	struct slice query;
	bool gone; // it is not pending any more: somebody else has carried it out
	int64_t held_ms, waited_s;
	int64_t deleted, newer; // documents
	int64_t drawn;          // the highest id that the table drew; -1 = no version tells
	bool refused;           // for good
	const char *waits_for;  // a word for what is in the way; NULL = the kind of the error says it
	// What Elasticsearch refused last:
	int status;
	char type[128];
};

#define SWEEP_FUTURE "version_from_the_future" // in waits_for

// Deletes every document that the query finds and that is older than the event, until it finds no more. False: refused for good, with
// status and type, or in the way for now. sweep_keep is called between.
bool sweep_pass(struct sweep *s, struct err *e) must_check;
// Nobody else may meet the event for a while yet. False: an error, an interruption, or it is gone.
bool sweep_keep(struct sweep *s, struct err *e) must_check;

#endif
