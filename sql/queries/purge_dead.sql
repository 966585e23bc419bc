WITH gone AS (
	DELETE FROM {table} o
	WHERE o.{row} = ANY ($1::{row_type}[]) AND ({id}) = ANY ($2::bigint[]) AND o.processed = false AND o.dead_at IS NOT NULL RETURNING 1)
SELECT count(*) FROM gone
