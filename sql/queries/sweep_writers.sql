-- The transactions that may have drawn an id of the outbox and not committed its row yet: those of $1 that still write it, or all
-- who do now when $1 is NULL. An id is drawn before its row is committed, so an older event may be seen later than a newer one. An
-- INSERT holds this lock from before it draws until its transaction has ended. A prepared transaction has got another name: any of
-- those may be one of $1. And the name of one of them, for who waits.
SELECT coalesce(json_agg(DISTINCT l.virtualtransaction), '[]')::text,
       min(coalesce('process ' || l.pid, 'prepared transaction ' || p.gid))
FROM pg_locks l
LEFT JOIN pg_prepared_xacts p ON l.virtualtransaction = '-1/' || p.transaction::text
WHERE l.locktype = 'relation' AND l.granted
  AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  AND (l.relation = {table_literal}::regclass
       OR l.relation IN (SELECT t.relid FROM pg_partition_tree({table_literal}::regclass) t))
  AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND ($1::jsonb IS NULL OR l.virtualtransaction LIKE '-1/%'
       OR l.virtualtransaction IN (SELECT jsonb_array_elements_text($1::jsonb)))
