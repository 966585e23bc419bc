// SPDX-License-Identifier: MIT
// What the parts tell the relay: each change is said once, a failure that goes on is counted.
#include "base/log.h"
#include "pg/outbox.h"
#include "pg/sqlstate.h"
#include "run/state.h"
#include "run/sweeper.h"
#include "run/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Longest pause between two attempts to reach a server that does not answer at all.
#define SILENT_CAP_MS 2000
// What goes on is said again after so long.
#define SAY_AGAIN_MS 60000
// So many looks at all lanes without a row: nobody has it locked, the row whose settlement failed is gone.
#define EMPTY_LOOKS_MIN 3
// So many counts without the wake-up that was sent: none will come.
#define UNHEARD_MAX 3
// So many claims in a row met a 429: load that passes is nobody's business.
#define REFUSALS_SAID 5
// So long after its wait was over nothing was heard of a paused index.
#define INDEX_IDLE_MS 300000
#define READ_ONLY "the server is read-only, a standby?"

// Closes a circuit; the end of an outage is said with its length. Returns true for the first word ever of something that
// was not away.
static bool say_back(struct circuit *c, const char *event)
{
	bool first = circuit_is_untested(c);
	int64_t now_ms = clock_boot_ms(), seconds = (now_ms - c->opened_ms) / 1000, failures = c->failures;

	if (c->open)
		c->closed_ms = now_ms;
	if (circuit_succeeded(c))
		log_info(event, kv_int("seconds", seconds), kv_int("failures", failures));
	return first;
}

int64_t relay_reconnect_cap_ms(const struct relay *r)
{
	return r->config->retry_cap > SILENT_CAP_MS ? SILENT_CAP_MS : r->config->retry_cap;
}

void relay_postgres_up(struct relay *r)
{
	if (say_back(&r->postgres, "postgres_back"))
		log_info("postgres_connected", kv_str("table", r->config->outbox_table));
}

static bool somebody_is_connected(const struct relay *r)
{
	for (int i = 0; i < r->worker_count; i++) {
		if (worker_is_connected(r->workers[i]))
			return true;
	}
	return false;
}

bool relay_session_refused(struct relay *r, const struct err *e)
{
	int64_t now_ms = clock_boot_ms();

	if (r->postgres.open || !somebody_is_connected(r))
		return false;
	if (r->stopping || (r->refused_said_ms && now_ms - r->refused_said_ms < SAY_AGAIN_MS))
		return true;
	r->refused_said_ms = now_ms;
	health_trouble(r, TROUBLE_POSTGRES, "session_refused", e->text);
	log_warn("session_refused", kv_err(e), kv_str("then", "the others go on; connecting again"));
	return true;
}

// Behind a transaction pooler LISTEN goes well, and nothing ever comes.
void relay_look_for_wakeups(struct relay *r)
{
	bool due = r->config->relay_notify && r->trigger && !r->test_wakeups && !r->pace.notified;

	r->unheard = due ? r->unheard + 1 : 0;
	if (r->unheard == UNHEARD_MAX)
		log_warn("wakeups_missing", kv_str("table", r->config->outbox_table),
			 kv_str("then",
				"events are found by looking, as without them; a pooler in transaction mode "
				"lets none pass: see `outboxd check`"));
}

void relay_postgres_down(struct relay *r, const struct err *e, bool refused)
{
	// A crash or failover may have lost marks: rows below the bounds are pending again.
	if (!refused)
		lanes_forget_bounds(&r->lanes);
	if (refused && relay_session_refused(r, e))
		return;
	if (!circuit_failed(&r->postgres, clock_boot_ms(), -1, &r->rng) || r->stopping)
		return;
	health_trouble(r, TROUBLE_POSTGRES, "postgres_away", e->text);
	log_warn("postgres_away", kv_err(e), kv_str("then", "trying again for ever, rows stay pending"));
}

// Says once what is wrong with the table. Always false.
static bool unfit(struct relay *r, enum err_kind kind, const char *why, const char *then)
{
	int64_t now_ms = clock_boot_ms();

	if (!r->unfit && !(r->disproved && now_ms - r->unfit_said_ms < SAY_AGAIN_MS)) {
		r->unfit_told = true;
		r->unfit_said_ms = now_ms;
		health_trouble(r, TROUBLE_TABLE, "table_unfit", why);
		log_error("table_unfit", kv_str("table", r->config->outbox_table), kv_str("error", why),
			  kv_str("then", then));
	}
	if (!r->unfit)
		r->unfit_ms = now_ms;
	r->unfit = true;
	if (r->once && kind == ERR_CONFIG)
		relay_quit(r, err_exit_code(kind));
	return false;
}

static void fit(struct relay *r)
{
	if (r->unfit_told)
		log_info("table_fit", kv_str("table", r->config->outbox_table));
	r->unfit = r->unfit_told = false;
}

// One session that was led to a standby, while the others are not: connecting again may lead it elsewhere.
static bool is_lone_standby(struct relay *r)
{
	struct err e = { 0 };

	err_set(&e, ERR_UNAVAILABLE, "%s", READ_ONLY);
	return relay_session_refused(r, &e);
}

bool relay_inspected(struct relay *r, const struct inspection *found)
{
	if (found->server_version < POSTGRES_OLDEST)
		return unfit(r, ERR_CONFIG, "this PostgreSQL is too old for outboxd",
			     "upgrade it to 13 or later; looking again");
	if (found->read_only && is_lone_standby(r))
		return false;
	if (!found->table_exists)
		return unfit(r, ERR_CONFIG, "the table does not exist", "run `outboxd init`; looking again");
	if (!found->columns_complete)
		return unfit(r, ERR_CONFIG, "the table lacks columns of outboxd",
			     "run `outboxd init`; looking again");
	if (!found->usable)
		return unfit(r, ERR_CONFIG, found->shape, "give outboxd a table of its own; looking again");
	if (found->read_only)
		return unfit(
			r, ERR_UNAVAILABLE, READ_ONLY,
			"name all hosts in postgres.dsn with target_session_attrs=read-write; looking again");
	fit(r);
	r->disproved = false;
	if (!found->lane_index_valid && !r->inspected)
		log_warn("no_lane_index", kv_str("table", r->config->outbox_table),
			 kv_str("then", "claims read the whole table: run `outboxd init`"));
	if (found->row_security && !r->inspected)
		log_warn("rows_may_be_hidden", kv_str("error", "row level security is active for this role"),
			 kv_str("then", "give it BYPASSRLS or a policy that shows every row"));
	if (found->partitioned && !found->rotates && !r->inspected)
		log_info("no_rotation", kv_str("table", r->config->outbox_table),
			 kv_str("then", "it makes and drops no partitions"));
	if (r->once && !r->inspected)
		r->highest = found->highest_id;
	r->inspected = true;
	r->sequence = found->sequence;
	r->trigger = found->notify_trigger;
	r->rotates = found->rotates;
	return true;
}

void relay_elasticsearch_failed(struct relay *r, const struct failure *failure)
{
	const char *why = failure->why;
	int64_t cap = r->config->retry_cap;

	// One cheap probe hurts nobody who is not there, and the first second after its return is worth having.
	r->elasticsearch.backoff.cap_ms = failure->silent && cap > SILENT_CAP_MS ? SILENT_CAP_MS : cap;
	if (!circuit_failed(&r->elasticsearch, clock_boot_ms(), failure->retry_after_ms, &r->rng)) {
		log_debug("elasticsearch_still_away", kv_str("error", why),
			  kv_int("failures", r->elasticsearch.failures));
		return;
	}
	health_trouble(r, TROUBLE_ELASTICSEARCH, "elasticsearch_away", why);
	log_warn("elasticsearch_away", kv_str("error", why),
		 kv_str("then", "trying again for ever, rows stay pending"));
}

static void elasticsearch_answers(struct relay *r)
{
	if (say_back(&r->elasticsearch, "elasticsearch_back"))
		log_info("elasticsearch_connected", kv_str("url", r->config->elasticsearch_url));
}

void relay_elasticsearch_denies(struct relay *r, const char *why)
{
	elasticsearch_answers(r);
	if (r->access != ACCESS_DOUBTED)
		return;
	r->access = ACCESS_DENIED;
	health_trouble(r, TROUBLE_ELASTICSEARCH, "elasticsearch_denies", why);
	log_warn("elasticsearch_denies", kv_str("error", why),
		 kv_str("then", "the credentials look wrong; the next event will show"));
}

void relay_sign_of_life(struct relay *r, bool denied)
{
	if (!denied)
		r->access = ACCESS_FINE;
	else if (r->access == ACCESS_FINE)
		r->access = ACCESS_DOUBTED;
}

void relay_elasticsearch_works(struct relay *r)
{
	if (r->access != ACCESS_FINE)
		r->access = ACCESS_BY_EVENTS;
	elasticsearch_answers(r);
}

void relay_sql_failed(struct relay *r, const char *what, const struct err *e)
{
	bool fix = sqlstate_action(e->sqlstate) == PG_FIX;

	r->sql_settling = strcmp(what, "settle") == 0 || (r->sql.open && r->sql_settling);
	r->sql_empty = 0;
	if (r->sql_settling)
		lanes_forget_bounds(
			&r->lanes); // so that a claim which finds nothing has looked at everything
	if (circuit_failed(&r->sql, clock_boot_ms(), fix ? r->config->retry_cap / 4 : -1, &r->rng)) {
		health_trouble(r, TROUBLE_SQL, "sql_failed", e->text);
		log_warn("sql_failed", kv_str("in", what), kv_str("sqlstate", e->sqlstate), kv_err(e),
			 kv_str("then", fix ? "correct the mapping, the table or the privileges; trying again"
					    : "trying again, rows stay pending"));
	}
	if (fix && r->once)
		relay_quit(r, err_exit_code(ERR_CONFIG));
}

void relay_sql_works(struct relay *r, int64_t begun_ms, enum proof proof)
{
	// Somebody's session was lost and cannot come back, or found no table, but this one works.
	if (r->postgres.open && begun_ms > r->postgres.opened_ms)
		relay_postgres_up(r);
	if (proof == PROOF_SETTLED && r->unfit && begun_ms > r->unfit_ms) {
		fit(r);
		r->disproved = true;
	}
	// One that was under way when another failed is no proof.
	if (r->sql.open && begun_ms < r->sql.until_ms)
		return;
	r->sql_empty += proof == PROOF_EMPTY;
	if (r->sql.open && r->sql_settling && proof != PROOF_SETTLED && r->sql_empty < EMPTY_LOOKS_MIN)
		return;
	say_back(&r->sql, "sql_works");
}

void relay_future(struct relay *r, int64_t id, int64_t version, int64_t drawn)
{
	int64_t now_ms = clock_boot_ms();

	if (r->future_said_ms && now_ms - r->future_said_ms < SAY_AGAIN_MS)
		return;
	r->future_said_ms = now_ms;
	health_trouble(r, TROUBLE_FUTURE, "version_from_the_future", "the table's ids went back");
	log_error(
		"version_from_the_future", kv_int("id", id), kv_int("version", version),
		kv_int("highest_id", drawn),
		kv_str("then",
		       "the table's ids went back (failover, restore): its events wait; lift the sequence with "
		       "`outboxd check --raise-sequence`"));
}

void relay_sieved(struct relay *r, int64_t rows)
{
	struct err e = { 0 };

	r->tally.sieved += rows;
	if (rows > 0) {
		log_error("events_dead", kv_int("events", rows), kv_str("type", "mapping_expression_failed"),
			  kv_str("see", "outboxd dead"));
		return;
	}
	// The claim failed on a row that another transaction holds, or the failure does not repeat: no hot loop.
	err_set(&e, ERR_REFUSED, "a mapping expression fails, but on no row that could be found");
	relay_sql_failed(r, "sieve", &e);
}

static bool is_for_reading(const char *name)
{
	return strncmp(name, PAUSED_FOR_READING, strlen(PAUSED_FOR_READING)) == 0;
}

const char *relay_paused_index(const char *name)
{
	return is_for_reading(name) ? name + strlen(PAUSED_FOR_READING) : name;
}

bool relay_index_at_fault(struct relay *r, const char *index, const char *type, const char *reason)
{
	if (paused_is_full(&r->paused, index))
		return false;
	if (paused_add(&r->paused, index, type, clock_boot_ms(), r->config->retry_base, r->config->retry_cap,
		       &r->rng)) {
		char what[256];

		snprintf(what, sizeof(what), "%s: %s", relay_paused_index(index), type);
		health_trouble(r, TROUBLE_INDEX, "index_paused", what);
		log_warn("index_paused", kv_str("index", relay_paused_index(index)), kv_str("type", type),
			 kv_str("reason", reason),
			 kv_str("then",
				is_for_reading(index)
					? "its updates stay pending, it is read again from time to time"
					: "its events stay pending, it is tried again from time to time"));
	}
	return true;
}

void relay_index_works(struct relay *r, const char *index, const struct circuit *was)
{
	log_info("index_resumed", kv_str("index", relay_paused_index(index)),
		 kv_int("seconds", (clock_boot_ms() - was->opened_ms) / 1000),
		 kv_int("failures", was->failures));
	lanes_forget_bounds(&r->lanes);
	pace_wake(&r->pace);
}

void relay_forget_idle_indexes(struct relay *r)
{
	char *name = paused_take_idle(&r->paused, clock_boot_ms(), INDEX_IDLE_MS);

	if (name)
		log_info("index_resumed", kv_str("index", relay_paused_index(name)),
			 kv_str("reason", "nothing of it was left to try"));
	free(name);
}

void relay_items_refused(struct relay *r, bool busy)
{
	circuit_failed(&r->items, clock_boot_ms(), -1, &r->rng);
	r->busy_claims = busy ? r->busy_claims + 1 : 0;
	if (r->busy_claims != REFUSALS_SAID)
		return;
	health_trouble(r, TROUBLE_BUSY, "elasticsearch_busy", "events are refused for now (429)");
	log_warn("elasticsearch_busy",
		 kv_str("error", "events are refused for now (429): more than it can take"),
		 kv_str("then", "they stay pending; less is sent, more slowly"));
}

void relay_items_taken(struct relay *r)
{
	bool said = r->items.open && r->busy_claims >= REFUSALS_SAID;

	r->busy_claims = 0;
	if (said)
		say_back(&r->items, "elasticsearch_back");
	else
		circuit_succeeded(&r->items);
}

void relay_left_known(struct relay *r, bool left)
{
	if (left)
		lanes_forget_bounds(&r->lanes); // it may lie below a bound: the next look is from the start
	else if (!sweeper_is_busy(r->sweeper))  // or it will tell what became of the last one
		relay_quit(r, tally_fate(&r->tally, FATE_DEAD) > 0 ? 65 : 0);
}
