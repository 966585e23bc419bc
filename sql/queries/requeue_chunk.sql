-- error stays: it tells what happened, and lets a newer delivered event settle the row later.
WITH requeued AS (
	UPDATE {table} o SET dead_at = NULL, retry_at = NULL, attempts = 0
	WHERE o.ctid = ANY ($1::tid[]) AND ({id}) = ANY ($2::bigint[]) AND o.processed = false AND o.dead_at IS NOT NULL RETURNING 1)
SELECT count(*) FROM requeued
