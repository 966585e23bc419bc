-- A newer full document was accepted: what is left of older refused events of it must never be sent again. The array makes
-- the planner look the keys up, whatever order of the join it takes: without statistics it may read the whole index of
-- refused rows instead, a million of them for each batch.
UPDATE {table} o
SET processed = true, processed_at = now(), error = o.error || jsonb_build_object('superseded_by', k.event)
FROM jsonb_to_recordset($1::jsonb) AS k(index text, id text, event bigint)
WHERE o.processed = false AND o.error IS NOT NULL
  AND hashtextextended(o.error->>'id', 0) = ANY (ARRAY (
	SELECT hashtextextended(a.id, 0) FROM jsonb_to_recordset($1::jsonb) AS a(id text)))
  AND o.error->>'id' = k.id AND o.error->>'index' = k.index AND ({id}) < k.event
