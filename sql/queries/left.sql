-- Is anything up to this id still undelivered? Looked for at the head of each lane, where the smallest ids are: that needs no
-- statistics, and no look at delivered rows.
SELECT EXISTS (
	SELECT FROM generate_series(0, 15) AS lane(number)
	CROSS JOIN LATERAL (
		SELECT ({id})::bigint AS id FROM {table} o
		WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = lane.number
		ORDER BY ({id}) LIMIT 1) AS head
	WHERE head.id <= $1)
