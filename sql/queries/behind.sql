-- The nearest refused event of the document that is older than the update c: if this very claim does not have it, the update must
-- not pass it. Through the index of refused rows, which knows the order. wait_ms: until it is tried again, a day at most; 0 = it is due;
-- NULL = it is dead, or its time is no time.
SELECT ({id})::bigint AS id,
       CASE WHEN o.dead_at IS NULL AND isfinite(due.at)
	    THEN greatest(0, ceil(extract(epoch FROM least(due.at, now() + interval '1 day') - now()) * 1000))::bigint END AS wait_ms
FROM {table} o CROSS JOIN LATERAL (SELECT coalesce(o.retry_at, now()) AS at) AS due
WHERE c.operation COLLATE "C" = 'update' AND o.processed = false AND o.error IS NOT NULL
  AND hashtextextended(o.error->>'id', 0) = hashtextextended(c.document_id COLLATE "C", 0)
  AND o.error->>'id' = c.document_id COLLATE "C" AND o.error->>'index' = c.index COLLATE "C" AND ({id}) < c.id
ORDER BY hashtextextended(o.error->>'id', 0) DESC, ({id}) DESC
LIMIT 1
