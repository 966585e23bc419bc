// SPDX-License-Identifier: MIT
// The rows of one claim from arrival to settlement: which are in the request body, which were replaced by a newer
// event of their document, what Elasticsearch said of each, and what becomes of it in the table.
// claimed = delivered + superseded + dead + waiting + returned, always.
#ifndef OUTBOXD_CORE_BATCH_H
#define OUTBOXD_CORE_BATCH_H

#include "base/buf.h"
#include "core/row.h"
#include "core/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What happens to a row when the claim's transaction ends.
enum fate {
	FATE_RETURNED, // stays pending, as it was
	FATE_DELIVERED,
	FATE_SUPERSEDED,
	FATE_DEAD,
	FATE_WAITING, // stays pending with an attempt counted and retry_at set
	FATE_COUNT_
};
const char *fate_name(enum fate f);

struct entry {
	struct tid tid;
	int32_t lane;
	int32_t attempts; // before this claim
	int32_t newer; // the next entry of the document that replaces this one or waits behind it; -1 = none
	int32_t trouble; // index of its trouble; -1 = none
	enum op op;
	enum refresh refresh;
	enum verdict verdict;
	enum fate fate;     // valid after batch_resolve
	int32_t settled_by; // so is this: itself, or the newest one of those that replaced it and are settled
	int64_t id;
	int64_t created_us;
	int64_t answered_us;              // when it was accepted
	bool behind;                      // it waits for an older event
	int64_t older_wait_ms, waited_ms; // behind_wait_ms and waited_ms of its row
	uint64_t way;                     // of its routing and pipeline; 0 = it has none
	int64_t conflict; // the version that stood in its way; 0 = none, or one that says nothing of an event
	char *trace;      // printable ASCII; NULL = none
	size_t start, end; // its bytes in the body; equal = none
	uint16_t parts;    // of an update: how many events its bytes hold, in lines of their own
	bool based; // ... of which the first line is all that there is of the document, not in Elasticsearch
	bool query; // it is a delete_by_query, of an index and of no document: somebody else carries it out
	struct document *document; // the key; NULL for a row that was refused before sending
};

// One document that this claim has events of.
struct document;

// Why a row was refused; ends up in the error column.
struct trouble {
	int status; // HTTP status of the item or request; 0 = refused before sending
	char *type;
	char *reason;
};

// A request to send: the events from..to of the body, counted in body order. The answer's items are in this order.
struct range {
	size_t from, to;
};

struct batch;

struct batch *batch_new(void);
void batch_free(struct batch *b); // NULL is fine
void batch_reset(struct batch *b);

size_t batch_count(const struct batch *b);
const struct entry *batch_entry(const struct batch *b, size_t i);
struct slice batch_index(const struct batch *b,
			 size_t i); // borrowed until batch_reset; p = NULL when refused
struct slice batch_document_id(const struct batch *b, size_t i);
const struct trouble *batch_trouble(const struct batch *b, size_t i); // NULL = none

// A claimed row that may be sent. An older one of the same key that was not sent yet loses its bytes to it: only the newest is
// sent. *ret_held = true: the row must wait for an older one of its key, and gets no bytes: for one of this claim (it stays
// pending), or, an update, for one that was refused before (it is judged). Returns the entry's number.
size_t batch_add(struct batch *b, const struct row *row, enum op op, bool *ret_held);
// Whose bytes an update takes up into its own, since they were not sent yet; NULL = nobody's.
const struct entry *batch_carried(const struct batch *b, size_t i);
// A row that was refused before sending.
size_t batch_add_refused(struct batch *b, const struct row *row, const struct refusal *why);
// A delete_by_query: it waits, no attempt is counted, and its `error` stays as it is; or it is refused, why not NULL.
void batch_add_query(struct batch *b, const struct row *row, const struct refusal *why);
// Where the entry that was added last stands in the body. What it replaces loses its bytes.
void batch_set_bytes(struct batch *b, size_t i, size_t start, size_t end);
size_t batch_live_bytes(const struct batch *b); // bytes in the body that will be sent

// Closes the gaps of replaced entries and cuts the unsent part into requests of at most max_bytes (a single
// larger event goes alone).
void batch_compact(struct batch *b, struct buf *body);
void batch_seal(struct batch *b, struct buf *body, size_t max_bytes);
bool batch_next(struct batch *b, struct range *ret_range); // the next request; false = none left
bool batch_has_next(const struct batch *b);
// The request of the range must be sent again as two halves, or entry i in a request of its own.
void batch_split(struct batch *b, const struct range *range);
void batch_solo(struct batch *b, const struct range *range, size_t position);
// What is not judged of the range must be sent in requests of its own.
void batch_rest(struct batch *b, const struct range *range);
void batch_drop_ranges(struct batch *b); // stop sending; what is not judged will be returned
void batch_body_sent(struct batch *b);   // every range is answered: the body may be reused for more rows

// The entry behind the answer's item number `position` (0-based).
size_t batch_sent_entry(const struct batch *b, const struct range *range, size_t position);
void batch_range_bytes(const struct batch *b, const struct range *range, size_t *ret_start, size_t *ret_end);
void batch_judge(struct batch *b, size_t i, enum verdict v);
// The document that was sent for an entry is refused, which is v of an event that is to blame: is it this one, or one whose part was
// merged with it? Then it waits until that one was sent without it.
enum verdict batch_blame(const struct batch *b, size_t i, enum verdict v);
// The trace of the first event of the request that has one; NULL = none. Borrowed until batch_reset.
const char *batch_range_trace(const struct batch *b, const struct range *range);
enum refresh batch_range_refresh(const struct batch *b, const struct range *range); // the strongest
bool batch_range_has_updates(const struct batch *b, const struct range *range);
// How many of them need what Elasticsearch has of their documents.
size_t batch_range_reads(const struct batch *b, const struct range *range);
bool entry_is_read(const struct entry *e);
void batch_set_answered(struct batch *b, size_t i, int64_t at_us);
void batch_set_conflict(struct batch *b, size_t i, int64_t version);
void batch_set_trouble(struct batch *b, size_t i, int status, const char *type, const char *reason);

// Ends judging: fills in every entry's fate. An older event is superseded when a newer full document of its key was
// accepted in this claim, and stays pending when that one was refused. max_attempts: see [retry].
void batch_resolve(struct batch *b, int64_t max_attempts);
size_t batch_fates(const struct batch *b, enum fate f);
// So many of those that wait are as they were: no attempt was counted.
size_t batch_uncounted(const struct batch *b);

#endif
