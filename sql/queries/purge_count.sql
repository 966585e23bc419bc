-- How many rows a purge would delete: delivered ones, or with $2 dead ones.
SELECT CASE WHEN $2::boolean
       THEN (SELECT count(*) FROM {table} o WHERE o.processed = false AND o.dead_at IS NOT NULL
             AND o.dead_at < now() - $1::bigint * interval '1 millisecond')
       ELSE (SELECT count(*) FROM {table} o WHERE o.processed AND o.processed_at < now() - $1::bigint * interval '1 millisecond') END
