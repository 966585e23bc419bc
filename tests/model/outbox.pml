// SPDX-License-Identifier: MIT
// The delivery protocol: claim, send, answer, settle; crashes, late requests, forgotten deletes.
// docs/MODEL.md explains it; `run` checks it. Every switch below may be given as -DNAME=VALUE.

// --- the world ---------------------------------------------------------------------------------
#ifndef KEYS
#define KEYS 2 // documents: 1 or 2
#endif
#ifndef EVENTS
#define EVENTS 3 // events of each, at most 4
#endif
#ifndef ANY
#define ANY 0 // 1: every pattern of deletes; 0: document 0 is index, delete, index; 1 is index, index, delete
#endif
#ifndef FORGET
#define FORGET 0 // a delete's tombstone: 0 kept; 1 forgotten once no older request is under way; 2 at any moment
#endif
#ifndef STRAY
#define STRAY 1 // 1: a request whose sender gave up or died may land at any later time; 0: it is gone
#endif
#ifndef REFUSE
#define REFUSE 0 // Elasticsearch may refuse: +1 for good, +2 for now
#endif
#ifndef REQUEUE
#define REQUEUE 0 // an operator may requeue a dead event at any time
#endif
#ifndef LATE
#define LATE 0 // 1: the events of a document become visible in any order
#endif
#ifndef FOREIGN
#define FOREIGN 0 // 1: somebody else may hold row locks, so that a claim skips any row
#endif
#ifndef LIVE
#define LIVE 0 // 1: faults end at some moment; from then on everything must come to rest. Relays may freeze
#endif

// --- the mechanisms ----------------------------------------------------------------------------
#ifndef LANES
#define LANES 1 // a claim holds the lanes of its documents (one lane each); 0: SKIP LOCKED alone
#endif
#ifndef BOUNDS
#define BOUNDS 0 // both documents in one lane, and 1: bounds as ids go; 2: never above an id that may still be
                 // uncommitted; 3: as 1, but a delete is claimed only by a look from zero
#endif
#ifndef LIMIT
#define LIMIT 1 // 1: a claim may end before the last row; 0: it takes all there is
#endif
#ifndef COALESCE
#define COALESCE 1 // of one request's events of a document only the newest is sent; 0: one event a request
#endif
#ifndef PARTS
#define PARTS 0 // 1: a claim may need several requests
#endif
#ifndef SETTLE_OLD
#define SETTLE_OLD 1 // an accepted event settles older refused events of its document
#endif
#ifndef TOMBDOC
#define TOMBDOC 0 // deletes = tombstone
#endif
#ifndef PURGE
#define PURGE 0 // tombstone documents are deleted for good: 1 nothing pending and no request under way; 2 nothing pending
#endif
#ifndef DEADLINE
#define DEADLINE 1 // whoever was frozen too long sends nothing more
#endif
#ifndef TIMEOUT
#define TIMEOUT 1 // the server ends a silent session
#endif
#ifndef VERSIONS
#define VERSIONS 1 // external versions
#endif

// --- mistakes, to see them caught ----------------------------------------------------------------
#ifndef SETTLE_EARLY
#define SETTLE_EARLY 0 // marks before the answer
#endif
#ifndef RELEASE_EARLY
#define RELEASE_EARLY 0 // commits the claim before it sends
#endif
#ifndef FOREVER
#define FOREVER 0 // a refusal for now may be repeated for ever, without max_attempts
#endif
#ifndef MARK_ALL
#define MARK_ALL 0 // marks the older events of a claim although the newest was refused
#endif

// --- what to look for ----------------------------------------------------------------------------
#ifndef I1
#define I1 1
#endif
#ifndef I2
#define I2 1
#endif
#ifndef I3
#define I3 1
#endif

#define ALL ((1 << EVENTS) - 1)
#define bit(e) (1 << ((e) - 1))  // event e as a set
#define upto(e) ((1 << (e)) - 1) // events 1..e
#define top(m) ((m) & 8 -> 4 : ((m) & 4 -> 3 : ((m) & 2 -> 2 : (m) & 1)))
#define low(m) ((m) & 1 -> 1 : ((m) & 2 -> 2 : ((m) & 4 -> 3 : ((m) & 8 -> 4 : 0))))
#ifndef REDUCE
#define REDUCE 1 // 0: without the shortcuts that keep the number of states small; the verdicts must be the same
#endif

// A counterexample in words (run --show): relays A and B, documents x and y, zeros are dropped.
#define R(r) (65 + (r))
#define K(k) (120 + (k))
#define SET(m) (m) & 1, (m) & 2, ((m) >> 2 & 1) * 3, ((m) >> 3 & 1) * 4

#define LAST (KEYS - 1)
#define max(a, b) ((a) > (b) -> (a) : (b))

// The table: sets of events of each document. Pending = visible, neither done nor dead.
byte vis[KEYS], done[KEYS], dead[KEYS];
byte err[KEYS]; // pending with an error: waits for its retry, or was requeued
// Elasticsearch: the version that it knows of a document (0 = none, or forgotten).
byte ver[KEYS];
byte stray[KEYS]; // given-up requests that may still land: at least one copy of each event in the set
byte bad[KEYS];   // refused for good until the operator does something about it
// History, for the properties only.
byte acc[KEYS]; // the newest event that Elasticsearch ever accepted
byte del[KEYS]; // which events are deletes

// The relays.
#define IDLE 0
#define HELD 1
#define SENT 2
byte st[2];
bit hold[2];   // its session lives: rows and lanes are locked
bit frozen[2]; // LIVE: it does nothing, perhaps for ever
bit parked[2]; // refused rows existed when it claimed
#define P(r, k) ((r) * KEYS + (k))
byte cl[2 * KEYS];   // rows of its claim
byte pos[2 * KEYS];  // sent up to here
byte fl[2 * KEYS];   // in the request under way
byte ans[2 * KEYS];  // what Elasticsearch made of it
#define OK 1
#define FOR_NOW 2
#define FOR_GOOD 3
byte hi[2 * KEYS];   // the newest accepted event of the claim
byte perm[2 * KEYS]; // refused for good, newer than that
byte temp[2 * KEYS]; // refused for now, newer than that
#if BOUNDS
byte bound[2], from[2];
byte safe[2]; // BOUNDS 2: nothing below was uncommitted when it claimed
bit cut[2];
#define id(k, e) (((e) - 1) * KEYS + (k) + 1)
#define within(k, b) (((b) + KEYS - 1 - (k)) / KEYS) // how many events of k have ids up to b
#define idtop(r, k) (top(cl[P(r, k)]) -> id(k, top(cl[P(r, k)])) : 0)
#define min(a, b) ((a) < (b) -> (a) : (b))
#define hidden(k) (low(ALL & ~vis[k]) -> id(k, low(ALL & ~vis[k])) : 99)
#endif
bit calm;

#define pending(k) (vis[k] & ~done[k] & ~dead[k])
#define locked(r, k) (hold[1 - (r)] -> cl[P(1 - (r), k)] : 0)
#if LANES
#if BOUNDS
#define lane_taken(r) (locked(r, 0) | locked(r, LAST))
#define avail(r, k) (lane_taken(r) -> 0 : pending(k))
#else
#define avail(r, k) (locked(r, k) -> 0 : pending(k))
#endif
#else
#define avail(r, k) (pending(k) & ~locked(r, k))
#endif
// The rows of one claim: in id order, so nothing is left out below the newest but what waits for its retry.
#define plain(r, k) (avail(r, k) & ~err[k])
#define claimable(r, k, c) ((c) <= ALL && ((c) & ~avail(r, k)) == 0 && \
			    (FOREIGN || (plain(r, k) & (LIMIT -> upto(top(c)) : ALL) & ~(c)) == 0))
#define rest(r, k) (cl[P(r, k)] & ~upto(pos[P(r, k)]))
#define live(r, k) (fl[P(r, k)] && ans[P(r, k)] == 0)
#define result(r, k) (hi[P(r, k)] || perm[P(r, k)] || temp[P(r, k)])
#define is_del(k, e) ((e) && (del[k] & bit(e)))
#define ALIKE (!BOUNDS && !LIVE && REDUCE) // two idle relays are the same: the first one claims
#define quiet(k) (pending(k) == 0)

// I1: nothing is marked that Elasticsearch did not accept, itself or something newer.
#define i1(k) (!I1 || top(done[k]) <= acc[k])
// I2: of one document only one request at a time is under way whose sender has not given up.
#define i2(r, k) (!I2 || !live(1 - (r), k))
// I3: at rest the document is what the newest delivered event says.
#define absent(k) (ver[k] == 0 || is_del(k, ver[k]))
#define i3(k) (!I3 || !quiet(k) || (top(done[k]) == acc[k] && \
	       (acc[k] == 0 || is_del(k, acc[k]) -> absent(k) : ver[k] == acc[k])))

inline clear(r, k)
{
	cl[P(r, k)] = 0; pos[P(r, k)] = 0; fl[P(r, k)] = 0; ans[P(r, k)] = 0;
	hi[P(r, k)] = 0; perm[P(r, k)] = 0; temp[P(r, k)] = 0;
}

// A version that is never forgotten makes older requests harmless for ever: they need not be followed.
#define FORGETTABLE ((FORGET && !TOMBDOC) || PURGE || !VERSIONS || !REDUCE)
#define may_matter(k, e) (FORGETTABLE || (e) > ver[k])

// Whoever gives up on a request does not know whether it will still land.
inline give_up(r, k)
{
	if
	:: live(r, k) && STRAY && may_matter(k, fl[P(r, k)]) -> stray[k] = stray[k] | bit(fl[P(r, k)])
	:: else
	fi;
	fl[P(r, k)] = 0; ans[P(r, k)] = 0
}

inline go_idle(r)
{
	clear(r, 0);
#if KEYS > 1
	clear(r, 1);
#endif
	st[r] = IDLE; hold[r] = 0; parked[r] = 0
#if BOUNDS
	; from[r] = 0; cut[r] = 0; safe[r] = 0
#endif
}

// With two documents a claim, or a request, may leave out one of them.
#define may_skip(r, k, now, later) (LAST && ((k) < LAST && (later) || (k) == LAST && (now)))

inline choose_rows(r, k)
{
	if
	:: may_skip(r, k, cl[P(r, 0)] != 0, avail(r, LAST) != 0)
	:: claimable(r, k, 1) -> cl[P(r, k)] = 1
	:: claimable(r, k, 2) -> cl[P(r, k)] = 2
	:: claimable(r, k, 3) -> cl[P(r, k)] = 3
#if EVENTS > 2
	:: claimable(r, k, 4) -> cl[P(r, k)] = 4
	:: claimable(r, k, 5) -> cl[P(r, k)] = 5
	:: claimable(r, k, 6) -> cl[P(r, k)] = 6
	:: claimable(r, k, 7) -> cl[P(r, k)] = 7
#endif
#if EVENTS > 3
	:: claimable(r, k, 8) -> cl[P(r, k)] = 8
	:: claimable(r, k, 9) -> cl[P(r, k)] = 9
	:: claimable(r, k, 10) -> cl[P(r, k)] = 10
	:: claimable(r, k, 11) -> cl[P(r, k)] = 11
	:: claimable(r, k, 12) -> cl[P(r, k)] = 12
	:: claimable(r, k, 13) -> cl[P(r, k)] = 13
	:: claimable(r, k, 14) -> cl[P(r, k)] = 14
	:: claimable(r, k, 15) -> cl[P(r, k)] = 15
#endif
	fi
}

#if BOUNDS
#define seen(r, k, b) (avail(r, k) & ~upto(within(k, b)))
#define seen_any(r, b) (seen(r, 0, b) | seen(r, LAST, b))
#define part(r, h) ((seen(r, 0, from[r]) & upto(within(0, h))) | (seen(r, LAST, from[r]) & upto(within(LAST, h))))
// One lane for both documents: from the bound or from zero, in id order, up to the claim's limit.
inline claim_lane(r, h)
{
	if
	:: from[r] = 0
	:: seen_any(r, bound[r]) -> from[r] = bound[r]
	fi;
	for (h : 1 .. KEYS * EVENTS) {
		if
		:: part(r, h) -> break
		:: h < KEYS * EVENTS
		fi
	}
	cut[r] = (seen(r, 0, from[r]) & ~upto(within(0, h))) || (seen(r, LAST, from[r]) & ~upto(within(LAST, h)));
	cl[P(r, 0)] = seen(r, 0, from[r]) & upto(within(0, h));
	cl[P(r, LAST)] = seen(r, LAST, from[r]) & upto(within(LAST, h));
	if
	:: BOUNDS == 3 && ((cl[P(r, 0)] & del[0]) || (cl[P(r, LAST)] & del[LAST])) -> // again, from zero
		from[r] = 0; cut[r] = 0;
		cl[P(r, 0)] = avail(r, 0);
		cl[P(r, LAST)] = avail(r, LAST)
	:: else
	fi;
	h = 0
}

inline move_bound(r, h)
{
	h = max(idtop(r, 0), idtop(r, LAST));
	if
	:: BOUNDS == 2 -> h = min(h, safe[r])
	:: else
	fi;
	if
	:: (cl[P(r, 0)] & ~done[0] & ~dead[0]) || (cl[P(r, LAST)] & ~done[LAST] & ~dead[LAST]) ->
		bound[r] = from[r] // rows came back
	:: else ->
		if
		:: bound[r] = from[r] // it never heard of its commit
		:: bound[r] = ((cut[r] || h > bound[r]) -> h : bound[r])
		fi
	fi;
	h = 0
}
#endif

inline choose_part(r, k)
{
	if
	:: rest(r, k) == 0 || PARTS && may_skip(r, k, fl[P(r, 0)] != 0, rest(r, LAST) != 0)
	:: rest(r, k) && COALESCE && !PARTS -> fl[P(r, k)] = top(rest(r, k))
	:: rest(r, k) && !COALESCE -> fl[P(r, k)] = low(rest(r, k))
#if PARTS && COALESCE
	:: rest(r, k) & 1 -> fl[P(r, k)] = 1
	:: rest(r, k) & 2 -> fl[P(r, k)] = 2
	:: rest(r, k) & 4 -> fl[P(r, k)] = 3
	:: rest(r, k) & 8 -> fl[P(r, k)] = 4
#endif
	fi;
	if
	:: fl[P(r, k)] ->
		printf("%c sends %c%d\n", R(r), K(k), fl[P(r, k)]);
		assert(i2(r, k));
		pos[P(r, k)] = fl[P(r, k)];
		pos[P(r, k)] = (rest(r, k) -> fl[P(r, k)] : EVENTS)
	:: else
	fi
}

inline read_answer(r, k)
{
	if
	:: ans[P(r, k)] == OK ->
		hi[P(r, k)] = fl[P(r, k)];
		perm[P(r, k)] = 0;
		temp[P(r, k)] = 0
	:: ans[P(r, k)] == FOR_GOOD -> perm[P(r, k)] = perm[P(r, k)] | bit(fl[P(r, k)])
	:: ans[P(r, k)] == FOR_NOW -> temp[P(r, k)] = temp[P(r, k)] | bit(fl[P(r, k)])
	:: else
	fi;
	fl[P(r, k)] = 0; ans[P(r, k)] = 0
}

// One transaction: marks, dead letters, retries, older refused events of accepted documents.
inline settle(r, k)
{
	if
	:: SETTLE_EARLY && fl[P(r, k)] -> hi[P(r, k)] = fl[P(r, k)]
	:: MARK_ALL && perm[P(r, k)] -> hi[P(r, k)] = max(hi[P(r, k)], top(cl[P(r, k)] & ~perm[P(r, k)]))
	:: else
	fi;
	done[k] = done[k] | (cl[P(r, k)] & upto(hi[P(r, k)]));
	if
	:: SETTLE_OLD && parked[r] && hi[P(r, k)] ->
		done[k] = done[k] | ((err[k] | dead[k]) & upto(hi[P(r, k)] - 1))
	:: else
	fi;
	dead[k] = (dead[k] | perm[P(r, k)]) & ~done[k];
	err[k] = (err[k] | temp[P(r, k)]) & ~done[k] & ~dead[k];
	bad[k] = bad[k] & ~done[k];
	assert(i1(k))
}

active [2] proctype relay()
{
#define r _pid
#if BOUNDS
	byte h;
#endif
end:
	do
	// Claim.
	:: atomic {
		st[r] == IDLE && !frozen[r] && (avail(r, 0) || avail(r, LAST)) && (r == 0 || !ALIKE || st[0] != IDLE) ->
#if BOUNDS
		claim_lane(r, h);
		safe[r] = (BOUNDS == 2 -> min(hidden(0), hidden(LAST)) - 1 : 0);
#elif KEYS > 1
		choose_rows(r, 0);
		choose_rows(r, 1);
#else
		choose_rows(r, 0);
#endif
		parked[r] = (err[0] | dead[0] | err[LAST] | dead[LAST]) != 0;
		printf("%c claims x%d%d%d%d", R(r), SET(cl[P(r, 0)]));
		printf(" y%d%d%d%d\n", SET(LAST -> cl[P(r, LAST)] : 0));
		hold[r] = !RELEASE_EARLY;
		st[r] = HELD
	   }
	// Send the claim's first or next request.
	:: atomic {
		st[r] == HELD && !frozen[r] && (rest(r, 0) || rest(r, LAST)) && (hold[r] || !DEADLINE || RELEASE_EARLY) ->
#if KEYS > 1
		choose_part(r, 0);
		choose_part(r, 1);
#else
		choose_part(r, 0);
#endif
		st[r] = SENT
	   }
	// The answer arrives.
	:: d_step {
		st[r] == SENT && !frozen[r] && !live(r, 0) && !live(r, LAST) ->
		printf("%c gets its answer\n", R(r));
		read_answer(r, 0);
#if KEYS > 1
		read_answer(r, 1);
#endif
		st[r] = HELD
	   }
	// No answer, or half an answer: nothing more is sent, what was accepted before is settled.
	:: d_step {
		st[r] == SENT && !frozen[r] && !calm ->
		printf("%c gives its request up\n", R(r));
		give_up(r, 0);
		pos[P(r, 0)] = EVENTS;
#if KEYS > 1
		give_up(r, 1);
		pos[P(r, 1)] = EVENTS;
#endif
		if
		:: result(r, 0) || result(r, LAST) -> st[r] = HELD
		:: else -> go_idle(r)
		fi
	   }
	// Settle and commit.
	:: atomic {
		((st[r] == HELD && (result(r, 0) || result(r, LAST)) && (!calm || (rest(r, 0) | rest(r, LAST)) == 0)) ||
		 (SETTLE_EARLY && st[r] == SENT)) && (hold[r] || RELEASE_EARLY) && !frozen[r] ->
		printf("%c settles and commits\n", R(r));
		settle(r, 0);
#if KEYS > 1
		settle(r, 1);
#endif
		give_up(r, 0);
		give_up(r, LAST);
#if BOUNDS
		move_bound(r, h);
#endif
		go_idle(r);
		assert(i3(0));
		assert(i3(LAST))
	   }
	// Crash at any point, a failed commit, a lost connection.
	:: d_step {
		st[r] != IDLE && !frozen[r] && !calm ->
		printf("%c crashes or loses its connection\n", R(r));
		give_up(r, 0);
		give_up(r, LAST);
#if BOUNDS
		bound[r] = from[r];
#endif
		go_idle(r)
	   }
#if BOUNDS
	:: d_step { st[r] == IDLE && bound[r] && !calm -> printf("%c restarts\n", R(r)); bound[r] = 0 }
#endif
	// The server ends a session that was silent too long. Requests have ended before, by their own deadline.
	:: d_step {
		TIMEOUT && hold[r] && (!calm || frozen[r]) ->
		printf("the server ends the session of %c\n", R(r));
		give_up(r, 0);
		give_up(r, LAST);
		if
		:: DEADLINE && REDUCE -> go_idle(r) // all that it knows is worth nothing any more
		:: else
		fi;
		hold[r] = 0;
		st[r] = HELD
	   }
	// It wakes and finds its session gone.
	:: d_step { st[r] == HELD && !hold[r] && !RELEASE_EARLY && !frozen[r] ->
		printf("%c finds its session gone\n", R(r)); go_idle(r) }
#if LIVE
	:: d_step { !frozen[r] && !calm && !frozen[1 - r] -> printf("%c freezes\n", R(r)); frozen[r] = 1 }
	:: d_step { frozen[r] && !calm -> printf("%c wakes\n", R(r)); frozen[r] = 0 }
#endif
	od
#undef r
}

inline apply(k, e)
{
	if
	:: e >= ver[k] || !VERSIONS ->
		printf("Elasticsearch takes %c%d\n", K(k), e);
		ver[k] = e;
		acc[k] = max(acc[k], e);
		stray[k] = (FORGETTABLE -> stray[k] : stray[k] & ~upto(e))
	:: else -> printf("Elasticsearch: 409 for %c%d\n", K(k), e)
	fi
}

inline land_stray(k, e, copies)
{
	printf("a request that was given up lands: %c%d\n", K(k), e);
	if
	:: (bad[k] & bit(e)) == 0 -> apply(k, e)
	:: else
	fi;
	if
	:: !copies -> stray[k] = stray[k] & ~bit(e)
	:: else
	fi;
	assert(i3(k))
}

#define PUBLISH(k, e) \
	:: d_step { e <= EVENTS && !calm && (vis[k] & bit(e)) == 0 && (LATE || (vis[k] & upto(e - 1)) == upto(e - 1)) -> \
		printf("the application commits %c%d\n", K(k), e); vis[k] = vis[k] | bit(e) }
// The last of an event's copies that are under way, or one of several: nobody counts how often a sender gave up.
#define STRAY_LANDS(k, e) \
	:: d_step { STRAY && e <= EVENTS && !calm && (stray[k] & bit(e)) -> land_stray(k, e, false) } \
	:: d_step { STRAY && e <= EVENTS && !calm && (stray[k] & bit(e)) -> land_stray(k, e, true) } \
	:: d_step { STRAY && e <= EVENTS && (stray[k] & bit(e)) -> \
		printf("a request that was given up is lost: %c%d\n", K(k), e); stray[k] = stray[k] & ~bit(e) }
#define LANDS(r, k) \
	:: d_step { live(r, k) && (bad[k] & bit(fl[P(r, k)])) == 0 -> \
		apply(k, fl[P(r, k)]); ans[P(r, k)] = OK; assert(i3(k)) } \
	:: d_step { (REFUSE & 1) && live(r, k) && acc[k] != fl[P(r, k)] && (!calm || (bad[k] & bit(fl[P(r, k)]))) -> \
		printf("Elasticsearch refuses %c%d for good\n", K(k), fl[P(r, k)]); \
		bad[k] = bad[k] | bit(fl[P(r, k)]); ans[P(r, k)] = FOR_GOOD } \
	:: d_step { (REFUSE & 2) && (!calm || FOREVER) && live(r, k) -> \
		printf("Elasticsearch refuses %c%d for now\n", K(k), fl[P(r, k)]); ans[P(r, k)] = FOR_NOW }
#define old_under_way(k) ((stray[k] & upto(ver[k] - 1)) || (live(0, k) && fl[P(0, k)] < ver[k]) || \
			  (live(1, k) && fl[P(1, k)] < ver[k]))
#define FORGETS(k) \
	:: d_step { FORGET && !TOMBDOC && !calm && is_del(k, ver[k]) && (FORGET == 2 || !old_under_way(k)) -> \
		printf("Elasticsearch forgets the deletion of %c\n", K(k)); ver[k] = 0 }
#define PURGES(k) \
	:: d_step { PURGE && TOMBDOC && !calm && is_del(k, ver[k]) && quiet(k) && \
		    (PURGE == 2 || (!stray[k] && !live(0, k) && !live(1, k))) -> \
		printf("the tombstone document of %c is purged\n", K(k)); ver[k] = 0 }
#define REQUEUES(k, e) \
	:: d_step { REQUEUE && !calm && (dead[k] & bit(e)) -> \
		printf("an operator requeues %c%d\n", K(k), e); \
		dead[k] = dead[k] & ~bit(e); err[k] = err[k] | bit(e); bad[k] = bad[k] & ~bit(e) }
#define KEY(k) \
	PUBLISH(k, 1) PUBLISH(k, 2) PUBLISH(k, 3) PUBLISH(k, 4) \
	STRAY_LANDS(k, 1) STRAY_LANDS(k, 2) STRAY_LANDS(k, 3) STRAY_LANDS(k, 4) \
	REQUEUES(k, 1) REQUEUES(k, 2) REQUEUES(k, 3) REQUEUES(k, 4) \
	LANDS(0, k) LANDS(1, k) FORGETS(k) PURGES(k)

active proctype world()
{
progress_start:
	atomic {
		del[0] = 2;
		del[LAST] = (KEYS > 1 -> bit(EVENTS) : 2);
#if ANY
		do
		:: del[0] < ALL -> del[0]++
		:: break
		od;
#endif
		printf("deletes: x%d%d%d%d", SET(del[0]));
		printf(" y%d%d%d%d\n", SET(LAST -> del[LAST] : 0))
	}
progress_faults:
end:
	do
	KEY(0)
#if KEYS > 1
	KEY(1)
#endif
#if LIVE
	:: atomic { calm == 0 -> printf("from here on nothing goes wrong any more\n"); calm = 1; break }
	od;
end_calm:
	do
	KEY(0)
#if KEYS > 1
	KEY(1)
#endif
	:: timeout -> assert(quiet(0) && quiet(LAST)); break
#endif
	od
}
