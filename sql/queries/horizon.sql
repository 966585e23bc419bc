-- Who keeps dead rows from being vacuumed: the oldest snapshot or transaction, prepared transaction or replication slot. One
-- row or none. A role that may not see others' sessions sees their age all the same.
SELECT kind, pid, name, usename, age_seconds
FROM (
	SELECT 'transaction' AS kind, pid, coalesce(nullif(application_name, ''), '?') AS name, coalesce(usename, '?')::text AS usename,
	       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_seconds
	FROM pg_stat_activity
	WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
	  AND backend_type <> 'walsender'
	UNION ALL
	SELECT 'prepared', NULL, gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8 FROM pg_prepared_xacts
	WHERE database = current_database()
) AS holders
WHERE age_seconds >= 60 ORDER BY age_seconds DESC LIMIT 1
