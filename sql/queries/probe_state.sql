-- No row: it was delivered and deleted (keep = 0).
SELECT o.processed, o.dead_at IS NOT NULL, o.error->>'type', o.error->>'reason' FROM {table} o WHERE ({id}) = $1::bigint
