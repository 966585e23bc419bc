-- How many rows were delivered per second within the last minute, from the table alone. No index knows processed_at: looked
-- at are the delivered rows below the one that is claimed next, and the newest rows above it, a limited number of each.
-- Where these do not reach back a minute, they say how long they took.
WITH head AS MATERIALIZED (
	SELECT max(first.id) AS id
	FROM generate_series(0, 15) AS lane(number)
	CROSS JOIN LATERAL (
		SELECT ({id})::bigint AS id FROM {table} o
		WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = lane.number AND (o.retry_at IS NULL OR o.retry_at <= now())
		ORDER BY ({id}) LIMIT 1) AS first
), looked AS (
	(SELECT 1 AS part, o.processed_at FROM {table} o
	 WHERE o.processed AND ({id}) <= coalesce((SELECT id FROM head), 9223372036854775807) ORDER BY ({id}) DESC LIMIT 100000)
	UNION ALL
	(SELECT 2, o.processed_at FROM {table} o WHERE ({id}) > (SELECT id FROM head) ORDER BY ({id}) DESC LIMIT 100000)
), part AS (
	SELECT count(*) AS looked, count(*) FILTER (WHERE processed_at > now() - interval '1 minute') AS recent,
	       extract(epoch FROM now() - min(processed_at))::float8 AS since
	FROM looked GROUP BY part
)
SELECT coalesce(sum(recent / CASE WHEN looked >= 100000 AND since < 60 THEN greatest(since, 1) ELSE 60 END), 0)::float8 FROM part
