-- By id, not by ctid: a row that somebody is just editing is waited for, and taken as it is then. error stays: it tells what happened, and lets a newer delivered event settle the row later.
WITH requeued AS (
	UPDATE {table} o SET dead_at = NULL, retry_at = NULL, attempts = 0
	WHERE ({id}) = ANY ($1::bigint[]) AND o.processed = false AND o.dead_at IS NOT NULL RETURNING 1)
SELECT count(*) FROM requeued
