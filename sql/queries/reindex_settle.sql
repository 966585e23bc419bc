-- The undelivered events of the index $1, which is to be deleted, are sent no more. Those that are just being sent are waited for; one
-- that dies by that is left, for the next time. Each update has a partial index of its own.
WITH waiting AS (
	UPDATE {table} o SET processed = true, processed_at = now(), error = coalesce(o.error, '{}') || '{"index_aborted": true}'
	WHERE o.processed = false AND o.dead_at IS NULL AND ({index})::text = $1::text
)
UPDATE {table} o SET processed = true, processed_at = now(), error = coalesce(o.error, '{}') || '{"index_aborted": true}'
WHERE o.processed = false AND o.dead_at IS NOT NULL AND ({index})::text = $1::text
