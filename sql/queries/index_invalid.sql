-- CREATE INDEX CONCURRENTLY that was interrupted leaves an invalid index behind. $1 = its name. In the first column: and nobody is
-- just making it.
SELECT NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.granted AND l.relation = i.indrelid
	AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.mode = 'ShareUpdateExclusiveLock')
FROM pg_index i WHERE i.indexrelid = to_regclass($1::text) AND NOT i.indisvalid
