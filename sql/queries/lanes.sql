-- Takes free lanes that have something to do. In a statement of its own: the claim's snapshot must be younger
-- than the locks, or it would show the former holder's rows as they were. The claim finds the lanes in
-- outboxd.lanes, so that both travel in one round trip, and in outboxd.per_lane how many rows each gives: its share of $6, so that a
-- batch is full as well where other relays hold most lanes. $5 is the sequence of the ids: a version above the highest id
-- that was ever drawn comes from a future that this database has lost.
SELECT set_config('outboxd.lanes', got.lanes::text, true),
       CASE WHEN $5::oid <> 0 THEN pg_sequence_last_value($5::oid::regclass) END,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
       set_config('outboxd.per_lane', greatest($6::bigint / greatest(cardinality(got.lanes), 1), 1)::text, true)::bigint
FROM (SELECT coalesce(array_agg(lane), '{}') AS lanes FROM (
	SELECT want.lane
	FROM unnest($1::int[], $2::bigint[]) AS want(lane, bound)
	WHERE CASE WHEN {unheld} AND EXISTS (
		SELECT FROM {table} o
		WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = want.lane
		  AND ({id}) > want.bound{bound_below} AND ({id}) <= $4 AND (o.retry_at IS NULL OR o.retry_at <= now()))
	THEN pg_try_advisory_xact_lock({lane_class}, want.lane) END
	LIMIT $3
) AS taken) AS got
