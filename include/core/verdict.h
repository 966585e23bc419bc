// SPDX-License-Identifier: MIT
// What an answer of Elasticsearch or OpenSearch means for an event. One pure table, first match wins; the
// source of each row is docs/VERDICTS.md (measured on Elasticsearch 8.19 and 9.5 and OpenSearch 3.3).
#ifndef OUTBOXD_CORE_VERDICT_H
#define OUTBOXD_CORE_VERDICT_H

#include "core/row.h"

#include <stdbool.h>
#include <stdint.h>

enum verdict {
	VERDICT_NONE,       // not judged yet
	VERDICT_DONE,       // applied (for a request: look at its items)
	VERDICT_SUPERSEDED, // something newer is there
	VERDICT_RETRY_ITEM, // the server's trouble: same event again later, no attempt counted
	VERDICT_ATTEMPT,    // same event again later, an attempt counted
	VERDICT_ASIDE,      // same event again later, others first, no attempt counted
	VERDICT_SERVER, // a server error: of the event or of its index, as what else was accepted will tell
	VERDICT_RETRY_REQUEST, // unknown or away: the whole request again after a backoff, no attempt counted
	VERDICT_PAUSE_INDEX,   // the destination index is at fault: nothing more to that index for a while
	VERDICT_PAUSE_ALL,     // configuration or privileges: nothing more to anybody for a while
	VERDICT_SPLIT,         // too large or one bad apple: the same in two halves
	VERDICT_SOLO,          // resend in a request of its own before judging
	VERDICT_DEAD,          // refused for good
	VERDICT_FUTURE,        // a version stands there that the table never drew: its ids went back
	VERDICT_COUNT_         // number of verdicts
};
const char *verdict_name(enum verdict v); // "done", "superseded", "retry_item", ...

struct judgement {
	enum verdict verdict;
	bool slow; // a load signal: fewer bytes in flight
};

// What is known of a whole request. `fault` = no complete HTTP answer (refused, reset, time-out, cut body).
struct request_facts {
	bool fault;
	bool too_large_to_read; // the answer passed our cap
	int status;             // HTTP status, 0 when fault
	bool readable;          // 200 only: JSON, `errors` and `items` there, as many items as were sent
	const char *type;       // error.type of the body, "" when none
	const char *reason;     // error.reason, ""
	size_t items;           // events in the request
};
// Gives DONE, RETRY_REQUEST, PAUSE_ALL, SPLIT (only for more than one event), and for one event alone DEAD and
// PAUSE_INDEX (of that event).
struct judgement verdict_request(const struct request_facts *facts);

struct item_facts {
	int status;
	enum op op;
	const char *type;   // error.type, "" when no error
	const char *reason; // error.reason, ""
	bool alone;         // it was the only event of its request
};
// Gives DONE, SUPERSEDED, RETRY_ITEM, ATTEMPT, SERVER, PAUSE_INDEX, DEAD, and SOLO only when it was not alone.
struct judgement verdict_item(const struct item_facts *facts);

// Is this the reason with which an Elasticsearch that is too old refuses a request?
bool verdict_is_outdated(const char *reason);

// The "current version [N]" of a version conflict's reason; -1 when the reason does not say.
int64_t verdict_conflict_version(const char *reason);

#endif
