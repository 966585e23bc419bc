-- The rows of the lanes that were taken, each lane in id order. The index gives the order, so that the mapping is only
-- evaluated for the rows that are claimed. The last but one column says whether any refused row of a known document exists
-- (then delivered keys settle older ones); its ORDER BY makes the planner take the index of refused rows, with or without
-- statistics, and those without a document lie at its end, where the condition stops. The last
-- column is the end of the claim's snapshot: what it did not see belongs to transactions before that or after.
SELECT o.*,
       coalesce((SELECT true FROM {table} p WHERE p.processed = false AND p.error IS NOT NULL
                 AND hashtextextended(p.error->>'id', 0) IS NOT NULL
                 ORDER BY hashtextextended(p.error->>'id', 0) LIMIT 1), false),
       (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
FROM unnest($1::int[], $2::bigint[]) AS want(lane, bound)
CROSS JOIN LATERAL (
	SELECT o.ctid, want.lane, ({id})::bigint, o.attempts,
	       CASE WHEN isfinite(o.created_at) THEN (extract(epoch FROM o.created_at) * 1000000)::bigint END,
	       ({version})::bigint, ({index})::text, ({document_id})::text, ({operation})::text,
	       ({routing})::text, ({pipeline})::text, ({document})::text, ({trace})::text, ({refresh})::text
	FROM {table} o
	WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = want.lane
	  AND ({id}) > want.bound AND ({id}) <= $4 AND (o.retry_at IS NULL OR o.retry_at <= now())
	  AND ($5::text[] = '{}' OR ({index})::text <> ALL ($5::text[]))
	ORDER BY ({id})
	LIMIT $3
	FOR UPDATE OF o SKIP LOCKED
) AS o
WHERE want.lane = ANY (current_setting('outboxd.lanes')::int[])
