// SPDX-License-Identifier: MIT
// The parts of `outboxd check`. Each adds its findings and never stops another: what cannot be looked at is a finding too.
#ifndef OUTBOXD_CMD_CHECK_H
#define OUTBOXD_CMD_CHECK_H

#include "base/config.h"
#include "cmd/findings.h"
#include "core/row.h"
#include "pg/mapping.h"
#include "pg/sync.h"

#include <stdbool.h>
#include <stdint.h>

#define TARGETS_MAX 20 // indexes that are looked at; an outbox with more is an outbox of one kind

// What goes with an external version, and not into a data stream.
enum { OPS_VERSIONED = 1 << OP_INDEX | 1 << OP_DELETE | 1 << OP_UPDATE };

// An index that the outbox's rows name.
struct target {
	char *index;
	unsigned ops;       // a bit for each enum op among the rows
	struct json_t *ids; // of documents, as strings
};

struct checkup {
	const struct config *config;
	const char *version; // of outboxd
	struct findings findings;
	struct target targets[TARGETS_MAX];
	int target_count;
	int targets_unseen; // rows of still more indexes
	int64_t drawn; // the highest id that the table ever drew, where that is what versions are; 0 = unknown
};

void check_postgres(struct checkup *c);
void check_elastic(struct checkup *c);
// A server's clock, which it told between asked_ms and now (milliseconds since 1970), against this host's.
void check_clock(struct checkup *c, const char *area, const char *advice, int64_t asked_ms,
		 int64_t theirs_ms);

// A look at the database that may fail: then the finding is added and NULL returned.
struct look {
	struct checkup *checkup;
	struct mapping mapping;
	struct sync *db;
	bool gone; // the connection is, and that was said
};
struct pg_result *look_query(struct look *look, const char *area, const char *what, const char *sql,
			     const char *const *params, int count);
// The same without a finding; *e says why not. A lost connection is a finding all the same.
struct pg_result *look_try(struct look *look, const char *sql, const char *const *params, int count,
			   struct err *e);
bool look_field(struct look *look, const struct mapping_field *f, struct err *e);
void check_rows(struct look *look);

// An answer of Elasticsearch.
struct elastic;
struct answer {
	int status;          // 0 = none; that was said
	struct json_t *json; // NULL = it is not JSON
};
struct answer elastic_ask(struct elastic *es, const char *method, const char *path, const char *body);
void answer_done(struct answer *a);
#define auto_answer __attribute__((cleanup(answer_done))) struct answer
const char *answer_reason(const struct answer *a); // of a refusal; "" = none
// Says that something could not be looked at, and why.
void elastic_not_seen(struct elastic *es, const char *area, const char *what, const struct answer *a);
// A setting of the cluster, borrowed; NULL = there is none, or they may not be seen.
const char *elastic_setting(struct elastic *es, const char *name);
struct checkup *elastic_checkup(struct elastic *es);
bool elastic_is_secured(const struct elastic *es);
// Does the answer to GET /_resolve/index/NAME name anything? OpenSearch says 200 and empty lists where Elasticsearch
// says 404.
bool resolved(const struct json_t *answer);
void check_index(struct elastic *es, const struct target *t);
void check_privileges(struct elastic *es, const struct target *t, bool exists);
// What an index has, or a template would give it: settings nested or flat, and the mapping.
void check_index_settings(struct elastic *es, const char *whose, const struct json_t *settings,
			  const struct json_t *mapping);
// The template that a new index of this name would get.
void check_template(struct elastic *es, const struct target *t);

#endif
