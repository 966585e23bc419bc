-- older.sql of a partitioned table. To look for each key in the index of each partition takes as long as all the rest of a batch, so
-- unless there are very many refused rows these say first which keys to look for: mostly none.
SELECT r.tid, k.tid AS newer, k.index, k.id, k.event
FROM jsonb_to_recordset($1::jsonb) AS k(tid bigint, index text, id text, event bigint)
JOIN (
	SELECT o.{row} AS tid, o.error FROM {table} o
	WHERE o.processed = false AND o.error IS NOT NULL
	  AND hashtextextended(o.error->>'id', 0) = ANY (ARRAY (
		WITH refused AS MATERIALIZED (
			SELECT hashtextextended(p.error->>'id', 0) AS hash FROM {table} p
			WHERE p.processed = false AND p.error IS NOT NULL AND hashtextextended(p.error->>'id', 0) IS NOT NULL
			ORDER BY 1 LIMIT 10001)
		SELECT a.hash FROM (SELECT hashtextextended(x.id, 0) AS hash FROM jsonb_to_recordset($1::jsonb) AS x(id text)) AS a
		WHERE a.hash IN (SELECT hash FROM refused) OR (SELECT count(*) FROM refused) > 10000))
	OFFSET 0) r ON r.error->>'id' = k.id AND r.error->>'index' = k.index AND r.tid < k.event
WHERE k.event NOT IN (SELECT unnest(nullif(current_setting('outboxd.waiting', true), '')::bigint[]))
