// SPDX-License-Identifier: MIT
// One claimed outbox row, as the mapping expressions gave it. All text is borrowed from the PGresult that
// holds the row and is not NUL-terminated.
#ifndef OUTBOXD_CORE_ROW_H
#define OUTBOXD_CORE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
	const char *p; // NULL = SQL NULL
	size_t n;
};

// Where the row stands (its ctid). Fixed while the claim's transaction holds the row's lock. Offset 0 = in a partitioned table,
// where a ctid would name several rows.
struct tid {
	uint32_t block;
	uint16_t offset;
};

// An update's document is a part: its fields are merged into what is there, and sent as one whole document.
enum op { OP_INDEX, OP_CREATE, OP_DELETE, OP_UPDATE };
const char *op_name(enum op op);
// What the request that carries the event asks for; the strongest of all its events counts.
enum refresh { REFRESH_NO, REFRESH_WAIT, REFRESH_NOW };
const char *refresh_name(enum refresh r); // as the parameter has it

struct row {
	struct tid tid;
	int32_t lane;
	int32_t attempts;
	int64_t id;
	int64_t version;
	int64_t created_us; // microseconds since 1970; 0 = the table does not say
	int64_t behind; // the nearest older event of the document that was refused or waits; of updates only
	int64_t behind_wait_ms; // until that one is tried again; 0 = it is due, -1 = it is dead
	int64_t waited_ms;      // for such a one, the last time
	bool is_behind;
	bool refused; // it was itself, earlier
	bool has_version;
	struct slice index;
	struct slice document_id;
	struct slice operation;
	struct slice routing;
	struct slice pipeline;
	struct slice document;
	struct slice trace;
	struct slice refresh;
};

// Why a row can never be sent: the type and reason end up in the dead letter, in Elasticsearch's own form.
struct refusal {
	const char *type; // static text
	char reason[256];
};

// Everything that would make Elasticsearch refuse the whole request, or that no server can mend, is found
// here, before sending (facts: id over 512 bytes, bad version, index name with date math, document that is
// not an object, ...). True = the row may be sent as *ret_op; false = *ret_refusal says why not.
bool row_check(const struct row *row, enum op *ret_op, struct refusal *ret_refusal);
// Is its operation delete_by_query? Such a row is never sent as it is, so row_check refuses it.
bool row_is_query(const struct row *row);
// May documents of this index be deleted by a query? allowed = outbox.delete_by_query.
bool row_takes_queries(struct slice index, const char *allowed);
// May the query be carried out? *ret_query = what to search for, borrowed from the row; NULL = the document is not looked at.
bool row_check_query(const struct row *row, const char *allowed, struct slice *ret_query,
		     struct refusal *ret_refusal);
// For a row that passed row_check: an index that takes queries takes whole documents alone. The version of a create says nothing of
// its age, and an update would be merged into what an older query, not yet carried out, is to delete.
bool row_check_whole(const struct row *row, enum op op, const char *allowed, struct refusal *ret_refusal);
enum refresh row_refresh(const struct row *row); // of a row that passed

#endif
