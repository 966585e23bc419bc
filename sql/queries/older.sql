-- The refused events that are older than an accepted one of their document, $1 (without those that hold.sql found to wait
-- themselves). They are looked up key by key in the index of refused rows: OFFSET keeps the planner from making one join of it,
-- for which, counting the pending rows as if they were all in that index, it would rather read the whole table, or the whole
-- index, for each batch.
SELECT r.tid, k.tid AS newer, k.index, k.id, k.event
FROM jsonb_to_recordset($1::jsonb) AS k(tid {row_type}, index text, id text, event bigint)
CROSS JOIN LATERAL (
	SELECT o.{row} AS tid FROM {table} o
	WHERE o.processed = false AND o.error IS NOT NULL
	  AND hashtextextended(o.error->>'id', 0) = hashtextextended(k.id, 0)
	  AND o.error->>'id' = k.id AND o.error->>'index' = k.index AND ({id}) < k.event
	OFFSET 0) r
WHERE k.event NOT IN (SELECT unnest(nullif(current_setting('outboxd.waiting', true), '')::bigint[]))
