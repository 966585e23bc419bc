// SPDX-License-Identifier: MIT
// The worker's states, events and transitions as data (worker_rules.c), and the object itself. Private to the files
// of the worker: worker.c (dispatch, life), worker_claim.c (rows in), worker_send.c (requests and answers).
#ifndef OUTBOXD_RUN_MACHINE_H
#define OUTBOXD_RUN_MACHINE_H

#include "run/state.h"
#include "run/worker.h"

// state, time-out (s; arm() shortens some); 0 = someone else's timer ends it
#define WORKER_STATES(X)                                                            \
	X(OFFLINE, 0)     /* waits to connect again */                              \
	X(CONNECTING, 0)  /* conn has its own timer */                              \
	X(INSPECTING, 30) /* is the table fit for use? */                           \
	X(IDLE, 0)                                                                  \
	X(CHECKING, 120)   /* --once: is anything left? */                          \
	X(WAKING, 30)      /* sends a notification */                               \
	X(PROBING, 0)      /* asks Elasticsearch for a sign of life */              \
	X(CLAIMING, 300)   /* rows arrive and become a request body */              \
	X(READING, 0)      /* asks for the documents into which parts are merged */ \
	X(SENDING, 0)      /* a request is in flight; http has its own timer */     \
	X(DISCARDING, 300) /* reads rows that nobody will send any more */          \
	X(SETTLING, 120)   /* writes fates and commits */                           \
	X(ROLLING_BACK, 60)                                                         \
	X(SIEVING, 300) /* looks for rows on which the mapping fails */

#define WORKER_EVENTS(X)                                                     \
	X(CONNECT)   /* time to connect */                                   \
	X(UP)        /* connected */                                         \
	X(DOWN)      /* connection refused or lost */                        \
	X(TIMEOUT)   /* the state took too long */                           \
	X(FIT)       /* the table may be used */                             \
	X(UNFIT)     /* it may not, or looking failed */                     \
	X(GO)        /* claim */                                             \
	X(PROBE)     /* see whether Elasticsearch is back */                 \
	X(WAKE)      /* notify whoever listens */                            \
	X(CHECK)     /* see whether anything is left */                      \
	X(CHECKED)   /* the answer came */                                   \
	X(ALIVE)     /* Elasticsearch answered the probe */                  \
	X(NO_SIGN)   /* it did not */                                        \
	X(HELD)      /* it did, but nothing shall be claimed now */          \
	X(READ)      /* a request needs documents of Elasticsearch */        \
	X(SEND)      /* a request is ready */                                \
	X(MORE_ROWS) /* the body is free again, the claim has more rows */   \
	X(DISCARD)   /* the claim has more rows, but sending is over */      \
	X(SETTLE)    /* all that could be sent was judged */                 \
	X(RELEASE)   /* nothing to write: give the rows back */              \
	X(SETTLED)   /* committed */                                         \
	X(RELEASED)  /* rolled back */                                       \
	X(LOOK)      /* rolled back, and the table may not be what it was */ \
	X(SIEVE)     /* rolled back, and some row's mapping fails */         \
	X(SQL_FAILED)

enum worker_state {
#define X(name, timeout) W_##name,
	WORKER_STATES(X)
#undef X
		W_STATE_COUNT_
};

enum worker_event {
#define X(name) E_##name,
	WORKER_EVENTS(X)
#undef X
		E_EVENT_COUNT_
};

typedef void worker_action(struct worker *w);

struct worker_rule {
	enum worker_state from;
	enum worker_event on;
	enum worker_state to;
	worker_action *act;
};
extern const struct worker_rule worker_rules[];
extern const size_t worker_rule_count;
// NULL = there is no rule: a bug.
const struct worker_rule *worker_find_rule(enum worker_state from, enum worker_event on);
const char *worker_state_text(enum worker_state s);
const char *worker_event_text(enum worker_event e);

struct bulk_item;
struct bulk_error;

struct worker {
	struct relay *relay;
	int number;
	enum worker_state state;
	struct conn *conn;
	struct http_call *call;
	struct backoff reconnect;
	ev_timer timer;   // of the state
	struct err error; // of the last failure
	bool refused;     // it was one to connect
	// INSPECTING and CHECKING:
	struct inspection found;
	bool left;
	// The batch:
	struct lane_plan plan;
	struct batch *batch;
	struct buf body;
	struct buf merged;  // the request in flight, when it has updates; before that, what is asked for them
	struct range range; // in flight
	struct horizon horizon;
	struct settlement settlement;
	int64_t unbelieved;      // superseded rows that wait instead: see conflicts.sql
	int64_t held;            // delivered rows that wait instead: see hold.sql
	int64_t drawn;           // highest id that the table ever drew; 0 = unknown
	uint32_t lanes;          // granted, a bit each
	int64_t per_lane;        // rows, at most
	int64_t rows, bytes;     // of this claim; no bytes that a newer event of their document replaced
	int64_t replaced;        // those bytes
	int64_t first_row_ms;    // when it came
	int64_t read_ms;         // from then until all rows were here
	int64_t claimed_boot_ms; // when BEGIN was sent
	int64_t answered_us;     // wall clock of the last answer
	int64_t discarded;
	bool claiming;      // the lanes of the plan are reserved
	bool granted;       // the database told which of them we got
	bool crowded;       // others held some that we wanted
	bool committed;     // the open transaction ends in a commit
	bool look;          // after the rollback, inspect the table again
	bool failed;        // a script of this claim failed
	bool full;          // some lane gave as many rows as it was asked for
	bool stream_open;   // the claim has more rows
	bool abandoned;     // nothing more is sent in this claim
	bool asked;         // some request of this claim was sent
	bool slow;          // the last answer was a load signal
	bool impatient;     // some items must wait for the server to recover
	bool heard;         // some answer told the items apart
	bool busy;          // some event was refused for now (429)
	int64_t sieved;     // rows that the sieve found, not committed yet
	int server_errors;  // in the answer that is read
	bool accepted_any;  // some request of this claim was accepted
	bool parked;        // the table holds refused rows
	bool queries;       // some event of this claim is a delete_by_query
	bool sieve;         // after the rollback, look for rows whose mapping fails
	bool denied;        // the probe was answered by 401
	char refusal[1024]; // what was said then, or to the last of the lone refusals
	int lone_refusals;  // single events for which the whole request was refused
	int lone_breaks;    // large single events under which the connection broke
	bool broken;        // under the last one that was sent
};

void worker_dispatch(struct worker *w, enum worker_event on); // the last statement of every callback
// What comes next in a batch, once a script ended or an answer was judged.
enum worker_event worker_next(struct worker *w);
bool worker_may_begin(const struct worker *w);     // another request: there is time for it, and nobody minds
int64_t worker_patience_ms(const struct relay *r); // the server ends a claim after so long
void worker_probe_unopposed(struct worker *w);     // the probe was answered, and there was no event to send

// Actions (worker.c, worker_claim.c, worker_send.c).
worker_action worker_act_connect, worker_act_retreat, worker_act_inspect, worker_act_rest, worker_act_check;
worker_action worker_act_probe, worker_act_claim, worker_act_send, worker_act_resume, worker_act_settle,
	worker_act_read;
worker_action worker_act_rollback, worker_act_sieve, worker_act_finish, worker_act_drop, worker_act_leave,
	worker_act_wake, worker_act_look;

// Translators: they fill fields and dispatch.
bool worker_on_row(void *arg, int step, const struct pg_result *res, int row);
void worker_on_reply(void *arg, const struct http_reply *reply);
// The documents came, or did not.
void worker_on_documents(struct worker *w, const struct http_reply *reply);
// The documents of the range would take more memory than requests may, by those that were read before.
bool worker_is_too_much_to_read(const struct worker *w);
void worker_trim(struct worker *w); // gives back what a large event made its buffers grow to
// Makes the request of a range none of whose updates needs a document of Elasticsearch, in w->merged. False: some event cannot be
// sent; it is judged, and the others of the range come again.
bool worker_merge(struct worker *w);
// The whole exchange failed: Elasticsearch is away, or refuses everything.
void worker_request_failed(struct worker *w, const struct http_reply *reply, const struct bulk_error *error);
// One item of the answer; called back by bulk_decode.
void worker_judge_item(void *arg, size_t position, const struct bulk_item *item);
// When all of them are known: server errors, which the others explain.
void worker_judge_server_errors(struct worker *w, int64_t took_us);
void worker_index_fault(struct worker *w, size_t entry, const char *type, const char *reason);
void worker_claim_ended(struct worker *w, bool committed); // gives the lanes back and counts

#endif
