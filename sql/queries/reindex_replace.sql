-- While nobody can write: newer events of the index, of the rows as they are now, take the place of all undelivered ones of both
-- indexes $1 and $2 with ids up to $3, whose documents are the same from now on. Those that are just being sent are waited for; one
-- that dies by that is left, for the next time; so is a delete_by_query, which is no event of a row. Each update has a partial index of
-- its own.
WITH waiting AS (
	UPDATE {table} o SET processed = true, processed_at = now(), error = coalesce(o.error, '{}') || jsonb_build_object('replaced_by', $2::text)
	WHERE o.processed = false AND o.dead_at IS NULL AND ({index})::text IN ($1::text, $2::text)
	  AND ({id})::bigint <= $3::bigint AND ({operation})::text IS DISTINCT FROM 'delete_by_query'
	RETURNING o.aggregate_id AS key
), dead AS (
	UPDATE {table} o SET processed = true, processed_at = now(), error = coalesce(o.error, '{}') || jsonb_build_object('replaced_by', $2::text)
	WHERE o.processed = false AND o.dead_at IS NOT NULL AND ({index})::text IN ($1::text, $2::text)
	  AND ({id})::bigint <= $3::bigint AND ({operation})::text IS DISTINCT FROM 'delete_by_query'
	RETURNING o.aggregate_id AS key
)
INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
SELECT 'reindex', $1::text, k.key, t.document
FROM (SELECT key FROM waiting UNION SELECT key FROM dead) k(key)
{row_of_key}
ORDER BY k.key
