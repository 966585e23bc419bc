-- Undelivered events of the indexes $1 and $2, with ids up to $3 (0 = any): how many wait for delivery, and how many are dead. Each of
-- the two has a partial index of its own. A dead delete_by_query of $2 has written nothing there: it stays for whoever mends it.
SELECT (SELECT count(*) FROM {table} o WHERE o.processed = false AND o.dead_at IS NULL AND ({index})::text IN ($1::text, $2::text)
        AND ($3::bigint = 0 OR ({id})::bigint <= $3::bigint)),
       (SELECT count(*) FROM {table} o WHERE o.processed = false AND o.dead_at IS NOT NULL AND ({index})::text IN ($1::text, $2::text)
        AND (({index})::text = $1::text OR ({operation})::text IS DISTINCT FROM 'delete_by_query')
        AND ($3::bigint = 0 OR ({id})::bigint <= $3::bigint))
