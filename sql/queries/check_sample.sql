-- The rows that `outboxd check` tries the mapping on: the newest, and some that are to be delivered.
SELECT coalesce(array_agg(tid)::text, '{}'), count(*) FROM (
	(SELECT o.{row} AS tid FROM {table} o WHERE o.dead_at IS NULL ORDER BY ({id}) DESC LIMIT 100)
	UNION
	(SELECT o.{row} AS tid FROM {table} o WHERE o.processed = false AND o.dead_at IS NULL LIMIT 100)
) AS sample
