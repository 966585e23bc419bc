-- Never run, only understood by the server: every use that the relay makes of its own columns.
SELECT o.processed = false, o.processed_at < now(), isfinite(o.created_at), extract(epoch FROM o.created_at), o.created_at::timestamptz,
       o.retry_at <= now(), o.dead_at < now(), o.attempts + 1, o.error->>'id', o.error || '{}'::jsonb
FROM {table} o
