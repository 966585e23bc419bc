SELECT count(*) FILTER (WHERE o.dead_at IS NULL) AS pending,
       count(*) FILTER (WHERE o.dead_at IS NULL AND o.retry_at > now()) AS waiting,
       count(*) FILTER (WHERE o.dead_at IS NOT NULL) AS dead,
       coalesce(extract(epoch FROM now() - min(o.created_at) FILTER (WHERE o.dead_at IS NULL)), 0)::float8 AS oldest_seconds
FROM {table} o WHERE o.processed = false
