-- Takes free lanes that have something to do. In a statement of its own: the claim's snapshot must be younger
-- than the locks, or it would show the former holder's rows as they were. The claim finds the lanes in
-- outboxd.lanes, so that both travel in one round trip, and in outboxd.per_lane how many rows each gives: its share of $8, so that a
-- batch is full as well where other relays hold most lanes. $7 is the sequence of the ids: a version above the highest id
-- that was ever drawn comes from a future that this database has lost. A lane is looked at from its bound ($3) while all of the
-- writers $4 are open, else from what was left behind because of them ($2): the relay learns which, and who else is open. At most $6
-- lanes are tried; the last column says whether others hold some of them, or of those left out as held. OFFSET: row by row, as no join would do.
SELECT set_config('outboxd.lanes', got.lanes::text, true),
       CASE WHEN $7::oid <> 0 THEN pg_sequence_last_value($7::oid::regclass) END,
       coalesce(who.others[1], pg_snapshot_xmax(pg_current_snapshot())::text::bigint),
       set_config('outboxd.per_lane', greatest($8::bigint / greatest(cardinality(got.lanes), 1), 1)::text, true)::bigint,
       set_config('outboxd.all_open', who.all_open::text, true), who.writers::text, who.others[1:9]::text, got.crowded
FROM (SELECT *, coalesce(cardinality(writers), 0) = cardinality($4::bigint[]) AS all_open
      FROM (SELECT array_agg(number) FILTER (WHERE number = ANY ($4::bigint[])) AS writers,
                   array_agg(number ORDER BY number) FILTER (WHERE number <> ALL ($4::bigint[])) AS others
            FROM (SELECT xid::text::bigint AS number FROM pg_snapshot_xip(pg_current_snapshot()) AS xid) AS everyone) AS open) AS who,
     ({held}) AS held,
     LATERAL (SELECT coalesce(array_agg(tried.lane) FILTER (WHERE tried.got), '{}') AS lanes,
		     coalesce(bool_or(NOT tried.got), false) OR held.lanes && $1::int[] AS crowded FROM (
	SELECT want.lane, pg_try_advisory_xact_lock({lane_class}, want.lane) AS got
	FROM (SELECT plan.lane, CASE WHEN who.all_open THEN plan.high ELSE plan.low END AS bound
	      FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS plan(lane, low, high)) AS want
	WHERE want.lane <> ALL (held.lanes) AND EXISTS (
		SELECT FROM {table} o
		WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = want.lane
		  AND ({id}) > want.bound{bound_below} AND ({id}) <= $5 AND (o.retry_at IS NULL OR o.retry_at <= now())
		OFFSET 0)
	LIMIT $6
) AS tried) AS got
