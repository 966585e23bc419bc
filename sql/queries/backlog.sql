-- What lies in the table, for the metrics: pending, waiting and dead rows, the age of the oldest pending one, and the dead
-- ones by reason. Only partial indexes are read. The oldest is looked for at the head of each lane: ids and times grow
-- together. Rows whose time is infinite or in the future are passed over: they say nothing of those behind them. None: NULL.
WITH refused AS MATERIALIZED (
	SELECT ({id})::bigint AS id, left(coalesce(o.error->>'type', ''), 200) AS type, o.dead_at IS NOT NULL AS is_dead, o.retry_at
	FROM {table} o WHERE o.processed = false AND (o.error IS NOT NULL OR o.dead_at IS NOT NULL))
SELECT (SELECT count(*) FROM {table} o WHERE o.processed = false AND o.dead_at IS NULL),
       (SELECT count(*) FROM refused WHERE NOT is_dead AND retry_at > now()),
       (SELECT count(*) FROM refused WHERE is_dead),
       (SELECT extract(epoch FROM clock_timestamp() - min(head.created_at))::float8
        FROM generate_series(0, 15) AS lane(number)
        CROSS JOIN LATERAL (
		SELECT o.created_at FROM {table} o
		WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = lane.number
		  AND isfinite(o.created_at) AND o.created_at <= now()
		ORDER BY ({id}) LIMIT 1) AS head),
       (SELECT coalesce(json_agg(json_build_object('type', r.type, 'count', r.count, 'first_id', r.first_id)), '[]')::text
        FROM (SELECT type, count(*), min(id) AS first_id FROM refused WHERE is_dead GROUP BY type ORDER BY 2 DESC LIMIT 20) AS r)
