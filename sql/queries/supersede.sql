-- A newer full document was accepted: what is left of older refused events of it must never be sent again.
UPDATE {table} o
SET processed = true, processed_at = now(), error = o.error || jsonb_build_object('superseded_by', k.event)
FROM jsonb_to_recordset($1::jsonb) AS k(index text, id text, event bigint)
WHERE o.processed = false AND o.error IS NOT NULL
  AND hashtextextended(o.error->>'id', 0) = hashtextextended(k.id, 0)
  AND o.error->>'id' = k.id AND o.error->>'index' = k.index AND ({id}) < k.event
