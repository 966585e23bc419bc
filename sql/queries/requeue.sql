-- error stays: it tells what happened before, and lets a newer delivered event settle this one.
UPDATE {table} o SET dead_at = NULL, retry_at = NULL, attempts = 0
WHERE o.processed = false AND o.dead_at IS NOT NULL AND ($1::bigint[] = '{}' OR ({id}) = ANY ($1::bigint[]))
