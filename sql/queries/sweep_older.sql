-- The oldest event of the index $2 that is older than $1 and still undelivered, dead ones aside; NULL = there is none. As left.sql.
SELECT min(head.id)
FROM generate_series(0, 15) AS lane(number)
CROSS JOIN LATERAL (
	SELECT ({id})::bigint AS id FROM {table} o
	WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = lane.number AND ({id}) < $1::bigint
	  AND ({index})::text = $2
	ORDER BY ({id}) LIMIT 1) AS head
