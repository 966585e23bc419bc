-- How many events of backfills with ids from $1 to $2 wait for their first delivery, and the first of them.
SELECT count(*), min(({id})::bigint) FROM {outbox} o
WHERE ({id}) BETWEEN $1::bigint AND $2::bigint AND o.event = 'backfill' AND o.processed = false AND o.dead_at IS NULL AND o.attempts = 0
