// SPDX-License-Identifier: MIT
// The alias moves while nobody can write the table: what the old index had is in the new one then, and no event is under way that
// could end up in the wrong one. All that can fail comes before the step itself, so that between it and the commit there is nothing.
// Killed just there, both names are written and lead to one index: nothing is lost by that, and the next run does the rest.
#include "base/clock.h"
#include "cmd/interrupt.h"
#include "cmd/reindex.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MS 200
#define SAY_MS 5000
#define DRAIN_MS 5000 // for the last events while writers wait
// More events are not replaced while writers wait, since the document of each is read.
#define REPLACE_MOST 10000

// A dead event is a document that the new index has not, or has in an older form.
static bool count_left(struct reindexing *x, int64_t upto, int64_t *ret_waiting, struct err *e)
{
	int64_t dead;

	if (!reindex_left(x->pg, upto, ret_waiting, &dead, e))
		return false;
	return dead == 0 ||
	       err_set(e, ERR_DATA,
		       "%" PRId64
		       " events of %s are dead, so %s stays where it is; `outboxd dead --index %s` says why. Change "
		       "their rows or requeue them, and the same command goes on; where the mapping is wrong, --abort",
		       dead, x->to, x->alias, x->to);
}

bool swap_wait(struct reindexing *x, struct err *e)
{
	int64_t since_ms = clock_boot_ms(), highest, left, before = -1;
	bool said = false;

	if (!reindex_highest(x->pg, &highest, e))
		return false;
	while (!interrupt_came()) {
		if (!count_left(x, highest, &left, e))
			return false;
		if (left == 0)
			return true;
		if (left != before)
			since_ms = clock_boot_ms();
		before = left;
		if (!said && clock_boot_ms() - since_ms >= SAY_MS) {
			fprintf(stderr,
				"reindex: %" PRId64
				" events of %s wait for delivery; does outboxd run? See `outboxd status`\n",
				left, x->to);
			said = true;
		}
		(void)poll(NULL, 0, LOOK_MS);
	}
	return reindexing_interrupted(e);
}

// The last events of the new index. *ret_done false = not in time.
static bool drain(struct reindexing *x, bool *ret_done, struct err *e)
{
	int64_t until_ms = clock_boot_ms() + DRAIN_MS, left = 1;

	while (left > 0 && !interrupt_came() && clock_boot_ms() < until_ms) {
		if (!count_left(x, 0, &left, e))
			return false;
		if (left > 0)
			(void)poll(NULL, 0, LOOK_MS / 4);
	}
	*ret_done = left == 0;
	if (left > 0 && !interrupt_came())
		reindexing_say(x, "the last events were not delivered while writers waited; tries again");
	return true;
}

// Another run may have taken the index back and made it anew meanwhile, or relays, with any mapping, when somebody deleted it.
static bool is_still_new(struct reindexing *x, int64_t until_ms, struct err *e)
{
	struct place *p = place_look(x->http, x->to, until_ms, e);
	bool ok = p && reindexing_is_unseen(x, p, ERR_CONFIG, e);

	if (ok && strcmp(place_uuid(p, x->to), x->uuid) != 0)
		ok = err_set(
			e, ERR_REFUSED,
			"%s is another one than this run has filled: it was deleted and made anew meanwhile",
			x->to);
	place_free(p);
	return ok;
}

static bool is_still_filled(struct reindexing *x, struct err *e)
{
	enum fill how_far;

	if (!reindex_fill(x->pg, &how_far, e))
		return false;
	return how_far == FILL_DONE ||
	       err_set(e, ERR_REFUSED, "%s was taken back meanwhile, or another run is filling it anew",
		       x->to);
}

// All documents are in the new index, and search finds them there. *ret_done false = not in time.
static bool is_complete(struct reindexing *x, const struct place *now, int64_t until_ms, bool *ret_done,
			struct err *e)
{
	if (!place_has(now, x->from))
		return err_set(e, ERR_REFUSED, "%s stands no longer for %s", x->alias, x->from);
	return is_still_filled(x, e) && reindex_goes_by_alias(x->pg, x->from, e) &&
	       reindex_is_alike(x->pg, e) && drain(x, ret_done, e) &&
	       (!*ret_done || (is_still_new(x, until_ms, e) && index_refresh(x->http, x->to, until_ms, e)));
}

// Writers wait. *ret_done false = again.
static bool move_held(struct reindexing *x, bool *ret_done, struct err *e)
{
	int64_t until_ms = clock_boot_ms() + REINDEXING_HOLD_MS;
	struct place *now = place_look(x->http, x->alias, until_ms, e);
	bool moved = now && place_is_only(now, x->to), ready = moved;
	bool ok = now && (moved || place_may_be_left(now, x->replaced, e)) &&
		  reindex_is_alone(x->pg, true, e);

	if (ok && !moved)
		ok = is_complete(x, now, until_ms, &ready, e);
	if (ok && ready)
		ok = reindex_replace(x->pg, until_ms, ret_done, e);
	if (ok && ready && !*ret_done)
		reindexing_say(x, "waits for events that are just being sent");
	if (ok && *ret_done)
		ok = reindex_switch_off(x->pg, e);
	x->asked = ok && *ret_done && !moved;
	if (x->asked)
		ok = alias_move(x->http, now, x->to, x->replaced, until_ms, e);
	place_free(now);
	return ok;
}

static bool has_moved(struct reindexing *x, bool *ret, struct err *e)
{
	struct place *now = place_look(x->http, x->alias, 0, e);
	bool ok = now != NULL;

	*ret = ok && place_is_only(now, x->to);
	place_free(now);
	return ok;
}

// What was not acknowledged, or refused at a second try, may have been done all the same: the next look says so. Until then all is
// written under both names.
static bool is_in_doubt(struct reindexing *x, struct err *e)
{
	struct err unheard = { 0 };
	bool in_doubt = e->kind == ERR_UNAVAILABLE && !*e->sqlstate;

	if (!in_doubt && (!x->asked || !has_moved(x, &in_doubt, &unheard) || !in_doubt))
		return false;
	fprintf(stderr, "reindex: %s; looks again\n", e->text);
	*e = (struct err){ 0 };
	return true;
}

// What can be done before writers have to wait. *ret_ready false = too much would be left to do while they wait.
static bool make_ready(struct reindexing *x, bool *ret_ready, struct err *e)
{
	int64_t undelivered;
	bool moved;

	x->asked = false;
	if (!has_moved(x, &moved, e) || !(moved || swap_wait(x, e)) ||
	    !reindex_undelivered(x->pg, 0, &undelivered, e))
		return false;
	*ret_ready = undelivered <= REPLACE_MOST;
	return moved || !*ret_ready || index_refresh(x->http, x->to, 0, e);
}

// *ret_done false = again.
static bool try_to_move(struct reindexing *x, bool *ret_done, struct err *e)
{
	bool ready, held = false;

	*ret_done = false;
	if (!make_ready(x, &ready, e) || (ready && !reindex_hold(x->pg, &held, e)))
		return false;
	if (!held) {
		reindexing_say(
			x,
			ready ? REINDEXING_WRITERS
			      : "more than 10000 events of both indexes are undelivered, and writers would have to wait "
				"for that; waits until they are fewer. See `outboxd status` and `outboxd dead`");
		return true;
	}
	if (move_held(x, ret_done, e) && *ret_done)
		return reindex_commit(x->pg, e) ||
		       err_prefix(e, "%s has moved, and the same command does the rest", x->alias);
	*ret_done = false;
	reindex_release(x->pg);
	return e->kind == ERR_NONE || is_in_doubt(x, e);
}

bool swap_say_what_is_kept(struct reindexing *x, struct err *e)
{
	struct place *kept = place_look(x->http, x->replaced, 0, e);
	bool ok = kept != NULL;

	if (ok && place_count(kept) > 0)
		printf("kept       what was before is %s; `outboxd reindex %s%s%s --drop` deletes it\n",
		       x->replaced, x->made_for.table, x->call->index ? " --index " : "",
		       x->call->index ? x->call->index : "");
	place_free(kept);
	return ok;
}

// A `remove` that finds nothing is no error for Elasticsearch.
static bool is_alone_there(struct reindexing *x, struct err *e)
{
	bool alone;

	if (!has_moved(x, &alone, e))
		return false;
	return alone ||
	       err_set(e, ERR_CONFIG,
		       "%s stands not for %s alone: somebody else moved it in the same moment, so take the "
		       "other index from it, and the same command does the rest",
		       x->alias, x->to);
}

bool swap_run(struct reindexing *x, struct err *e)
{
	int pause_ms = REINDEXING_PAUSE_MS;
	bool done = false;

	while (!done && !interrupt_came()) {
		if (!try_to_move(x, &done, e))
			return false;
		if (!done)
			reindexing_pause(&pause_ms);
	}
	if (!done)
		return reindexing_interrupted(e);
	if (!is_alone_there(x, e))
		return false;
	printf("moved      %s is %s now\n", x->alias, x->to);
	return reindexing_untrack(x, e) && index_refresh(x->http, x->to, 0, e) && swap_say_what_is_kept(x, e);
}
