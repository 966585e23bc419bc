-- Which sessions hold lanes of this table just now. What the role may not see is NULL, and hidden says so.
SELECT l.pid, nullif(a.application_name, '') AS application_name, host(a.client_addr) AS client_address,
       count(*)::int AS lanes, extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS held_seconds,
       coalesce(a.query = '<insufficient privilege>', true) AS hidden
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.objid <= 15
  AND l.classid = ({lane_class})::oid AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY l.pid, a.application_name, a.client_addr, a.xact_start, a.query
ORDER BY lanes DESC, l.pid
