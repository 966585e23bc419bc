-- The rows of the lanes that were taken, each lane in id order. The index gives the order, so that the mapping is only evaluated for the rows that are claimed. The last but one column says whether any refused row of a known document exists
-- (then delivered keys settle older ones); its ORDER BY makes the planner take the index of refused rows, with or without
-- statistics, and those without a document lie at its end, where the condition stops. The next column
-- is above every transaction that had begun to write at the claim's snapshot: FOR UPDATE gave the claim this number after it. (The
-- snapshot's own xmax is not: who is open may have a higher number.) The last two are behind.sql.
SELECT c.*,
       coalesce((SELECT true FROM {table} p WHERE p.processed = false AND p.error IS NOT NULL
                 AND hashtextextended(p.error->>'id', 0) IS NOT NULL
                 ORDER BY hashtextextended(p.error->>'id', 0) LIMIT 1), false),
       (SELECT pg_current_xact_id()::text::bigint),
       b.id, b.wait_ms
FROM ({writers}) AS writers,
     LATERAL (SELECT plan.lane, CASE WHEN writers.open THEN plan.high ELSE plan.low END AS bound
	      FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS plan(lane, low, high)) AS want
CROSS JOIN LATERAL (
	SELECT o.{row}, want.lane, ({id})::bigint AS id, o.attempts::int,
	       o.created_at::timestamptz,
	       ({version})::bigint AS version, ({index})::text AS index, ({document_id})::text AS document_id,
	       ({operation})::text AS operation, ({routing})::text AS routing, ({pipeline})::text AS pipeline,
	       ({document})::text AS document, ({trace})::text AS trace, ({refresh})::text AS refresh,
	       CASE WHEN o.error IS NULL THEN NULL WHEN o.error->>'wait_ms' ~ '^[0-9]{1,9}$' THEN (o.error->>'wait_ms')::bigint ELSE 0 END
		AS waited_ms
	FROM {table} o
	WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = want.lane
	  AND ({id}) > want.bound{bound_below} AND ({id}) <= $5 AND (o.retry_at IS NULL OR o.retry_at <= now())
	  AND ($6::text[] = '{}' OR (({index})::text <> ALL ($6::text[])
		AND (({operation})::text IS DISTINCT FROM 'update' OR '?' || ({index})::text <> ALL ($6::text[]))))
	ORDER BY ({id})
	LIMIT current_setting('outboxd.per_lane')::bigint
	FOR UPDATE OF o SKIP LOCKED
) AS c
LEFT JOIN LATERAL ({behind}) AS b ON true
WHERE want.lane = ANY (current_setting('outboxd.lanes')::int[])
