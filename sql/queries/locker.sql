-- Who locks the table, so that no row can be marked, or it cannot even be read: one row or none. A lock that is still
-- waited for keeps out all who come after it, too.
SELECT format('%s, %s, user %s, %s a lock on it (%s), for %s',
              coalesce('pid ' || l.pid, 'a prepared transaction'), coalesce(nullif(a.application_name, ''), '?'),
              coalesce(a.usename, '?'), CASE WHEN l.granted THEN 'holds' ELSE 'waits for' END, l.mode,
              coalesce(extract(epoch FROM clock_timestamp() - a.xact_start)::int || ' s', 'a hidden time')) AS holder,
       coalesce('SELECT pg_terminate_backend(' || l.pid || ')', 'ROLLBACK PREPARED, see pg_prepared_xacts') AS cure,
       l.mode = 'AccessExclusiveLock' AS unreadable
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.relation = to_regclass({table_literal})
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
ORDER BY unreadable DESC, l.granted DESC, l.pid LIMIT 1
