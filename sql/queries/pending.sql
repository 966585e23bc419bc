-- How many events wait for a drain that begins now.
SELECT count(*) FROM {table} o WHERE o.processed = false AND o.dead_at IS NULL
