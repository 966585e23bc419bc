// SPDX-License-Identifier: MIT
// The database side of `outboxd probe`: events of a document of its own, written, watched and removed.
#ifndef OUTBOXD_CMD_PROBE_H
#define OUTBOXD_CMD_PROBE_H

#include "base/config.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct probe_table;

// Connects, and sees whether this role may do what a probe does.
struct probe_table *probe_table_open(const struct config *config, struct err *e) must_check;
void probe_table_close(struct probe_table *t); // NULL is fine

// What the mapping makes of an event of the probe. The texts are owned: probe_event_done.
struct probe_event {
	int64_t id; // 0 = there is none
	char *document_id;
	char *routing; // NULL = none
};
void probe_event_done(struct probe_event *event);

// Writes and commits an event of `name`: a document, or a delete of `deleted`, which is the document it must delete.
// False with ERR_REFUSED: the mapping makes something else of it, nothing was committed.
bool probe_publish(struct probe_table *t, const char *index, const char *name,
		   const struct probe_event *deleted, struct probe_event *ret, struct err *e) must_check;
// ERR_REFUSED: it went dead. *ret_done: it is delivered.
bool probe_delivered(struct probe_table *t, int64_t id, bool *ret_done, struct err *e) must_check;
bool probe_remove(struct probe_table *t, const int64_t *ids, int count, struct err *e) must_check;

#endif
