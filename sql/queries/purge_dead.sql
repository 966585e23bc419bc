WITH gone AS (
	DELETE FROM {table} o
	WHERE o.ctid = ANY ($1::tid[]) AND ({id}) = ANY ($2::bigint[]) AND o.processed = false AND o.dead_at IS NOT NULL RETURNING 1)
SELECT count(*) FROM gone
