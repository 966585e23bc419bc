-- Who keeps dead rows from being vacuumed longest: a transaction of this database, a prepared one, a replication slot or a
-- standby without one. One row or none. A role without pg_monitor does not see when others' transactions began, and nobody
-- sees it of a standby: age_seconds is NULL then, and they count when many transactions came after them. A transaction's snapshot
-- goes back as far as the holder's does: among equals the eldest is the cause.
SELECT kind, pid, name, usename, age_seconds, transactions
FROM (
	SELECT CASE WHEN a.datname IS NULL THEN 'standby' ELSE 'transaction' END AS kind, a.pid,
	       coalesce(nullif(a.application_name, ''), '?') AS name, coalesce(a.usename, '?')::text AS usename,
	       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age_seconds,
	       greatest(age(a.backend_xmin), age(a.backend_xid))::bigint AS transactions
	FROM pg_stat_activity a
	WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid <> pg_backend_pid()
	  AND (a.datname = current_database() OR a.datname IS NULL)
	  AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
	UNION ALL
	SELECT 'prepared', NULL, p.gid, p.owner::text, extract(epoch FROM clock_timestamp() - p.prepared)::float8,
	       age(p.transaction)::bigint
	FROM pg_prepared_xacts p WHERE p.database = current_database()
	UNION ALL
	SELECT 'slot', s.active_pid, s.slot_name::text, '?',
	       extract(epoch FROM clock_timestamp() - (to_jsonb(s)->>'inactive_since')::timestamptz)::float8, age(s.xmin)::bigint
	FROM pg_replication_slots s WHERE s.xmin IS NOT NULL
) AS holders
WHERE age_seconds >= 60 OR (age_seconds IS NULL AND transactions >= 10000)
ORDER BY transactions DESC, age_seconds DESC NULLS LAST LIMIT 1
