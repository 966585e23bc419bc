// SPDX-License-Identifier: MIT
// The ways back from a reindex: `--abort` before the alias has moved, `--drop` after it.
#include "base/clock.h"
#include "cmd/interrupt.h"
#include "cmd/reindex.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#define LOOK_MS 200
#define SENDING_MS 60000 // a relay needs no longer for what it is just sending

static bool delete_index(struct reindexing *x, const char *index, int64_t until_ms, struct err *e)
{
	if (!index_delete(x->http, index, until_ms, e))
		return false;
	printf("deleted    %s\n", index);
	return true;
}

// -- abort

static bool hold(struct reindexing *x, struct err *e)
{
	return reindexing_until(x, reindex_hold, REINDEXING_WRITERS, e);
}

// Once that is committed nothing is written for the new index any more. That its triggers are there says that it was begun, so
// they go last, and an abort that was interrupted can be repeated.
static bool switch_off(struct reindexing *x, struct err *e)
{
	return hold(x, e) && reindex_switch_off(x->pg, e) && reindex_commit(x->pg, e);
}

static bool settle(struct reindexing *x, struct err *e)
{
	int64_t until_ms = clock_boot_ms() + SENDING_MS;
	bool done = false;

	while (!done && !interrupt_came()) {
		if (!reindex_settle(x->pg, &done, e))
			return false;
		if (!done && clock_boot_ms() > until_ms)
			return err_set(e, ERR_UNAVAILABLE,
				       "events of %s are being sent; the same command goes on", x->to);
		if (!done)
			(void)poll(NULL, 0, LOOK_MS);
	}
	return done || reindexing_interrupted(e);
}

// It bears our mark, or it is somebody else's.
static bool remove_if_ours(struct reindexing *x, struct err *e)
{
	int64_t until_ms = clock_boot_ms() + REINDEXING_HOLD_MS;
	struct place *p = place_look(x->http, x->to, until_ms, e);
	bool ok = p != NULL, is_there = ok && place_count(p) > 0;

	if (is_there)
		ok = reindexing_is_unseen(x, p, ERR_REFUSED, e);
	if (ok && is_there && place_is_marked(p, &x->made_for))
		ok = delete_index(x, x->to, until_ms, e);
	else if (ok && is_there)
		printf("left       %s, which was not made by reindex\n", x->to);
	place_free(p);
	return ok;
}

// No other run moves the alias to it meanwhile, for that one would have to hold off writers, too.
static bool remove_index(struct reindexing *x, struct err *e)
{
	bool ok = hold(x, e) && remove_if_ours(x, e);

	reindex_release(x->pg);
	return ok;
}

// A move that was asked for before, and that nobody waits for any more, may have come just before the delete. It has left what was
// replaced behind. Relays make an index of a name that nothing has.
static bool is_still_searched(struct reindexing *x, struct err *e)
{
	struct place *now = place_look(x->http, x->alias, 0, e);
	struct place *kept = now ? place_look(x->http, x->replaced, 0, e) : NULL;
	bool lost = kept && place_count(kept) > 0 && (place_count(now) == 0 || place_is_index(now));

	if (lost)
		err_set(e, ERR_REFUSED,
			"SEARCH FINDS NOTHING: a move of %s that was still under way came just before %s was deleted. At once: POST "
			"/_aliases {\"actions\": [{\"add\": {\"index\": \"%s\", \"alias\": \"%s\"}}]} (delete the index %s before, if "
			"relays have made one), then `outboxd verify %s --index %s --repair`, and the same command again",
			x->alias, x->to, place_next(kept, NULL), x->alias, x->alias, x->made_for.table,
			x->alias);
	place_free(kept);
	place_free(now);
	return kept && !lost;
}

// Without triggers it was just made, or search has seen it: then it may be all that there is.
static bool is_empty(struct reindexing *x, struct err *e)
{
	int64_t documents;

	if (!index_count(x->http, x->to, &documents, e))
		return false;
	return documents == 0 || err_set(e, ERR_REFUSED,
					 "%s is not on its way into %s, which holds %" PRId64
					 " documents: if nobody needs them, delete it yourself",
					 x->made_for.table, x->to, documents);
}

static bool may_abort(struct reindexing *x, struct err *e)
{
	struct place *p = place_look(x->http, x->to, 0, e);
	bool ok = p && (place_count(p) == 0 || reindexing_is_unseen(x, p, ERR_REFUSED, e));

	if (ok && !reindex_is_tracked(x->pg) && !place_is_marked(p, &x->made_for))
		ok = err_set(e, ERR_CONFIG, "%s is not on its way into %s", x->made_for.table, x->to);
	else if (ok && !reindex_is_tracked(x->pg))
		ok = is_empty(x, e);
	place_free(p);
	return ok && reindex_is_alone(x->pg, false, e);
}

// A backfill that still runs notices that it is forgotten, and ends.
bool back_abort(struct reindexing *x, struct err *e)
{
	return may_abort(x, e) && switch_off(x, e) &&
	       reindexing_until(x, reindex_forget, REINDEXING_FILL, e) && settle(x, e) &&
	       remove_index(x, e) && is_still_searched(x, e) && reindexing_untrack(x, e);
}

// -- drop

// All of them, or none is deleted.
static bool may_drop(struct reindexing *x, const struct place *old, struct err *e)
{
	const char *index = place_next(old, NULL);

	if (!index)
		return err_set(e, ERR_CONFIG, "there is no alias %s: nothing was replaced, or it is dropped",
			       x->replaced);
	if (place_is_index(old))
		return err_set(e, ERR_CONFIG, "%s is an index itself, and not made by reindex", x->replaced);
	for (; index; index = place_next(old, index)) {
		const char *alias = place_alias(old, index, x->replaced, NULL);

		if (alias)
			return err_set(
				e, ERR_REFUSED,
				"%s stands behind %s, so it is in use: if it is to stay, take the alias %s from it",
				index, alias, x->replaced);
		if (!reindex_goes_by_alias(x->pg, index, e))
			return false;
	}
	return true;
}

static bool is_replaced(struct reindexing *x, struct err *e)
{
	struct place *now = place_look(x->http, x->alias, 0, e);
	bool ok = now &&
		  (place_count(now) > 0 ||
		   err_set(e, ERR_REFUSED, "nothing has the name %s any more, so %s is all that there is",
			   x->alias, x->replaced));

	place_free(now);
	return ok;
}

static bool drop_all(struct reindexing *x, const struct place *old, struct err *e)
{
	for (const char *index = place_next(old, NULL); index; index = place_next(old, index)) {
		if (!delete_index(x, index, 0, e))
			return false;
	}
	return true;
}

bool back_drop(struct reindexing *x, struct err *e)
{
	struct place *old = place_look(x->http, x->replaced, 0, e);
	bool ok = old && may_drop(x, old, e) && is_replaced(x, e) && drop_all(x, old, e);

	place_free(old);
	return ok;
}
