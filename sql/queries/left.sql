-- Is any of the rows that --once is there for still undelivered?
SELECT EXISTS (SELECT FROM {table} o WHERE o.processed = false AND o.dead_at IS NULL AND ({id}) <= $1)
