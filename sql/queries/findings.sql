-- What `outboxd check` finds in the catalogue, a row each: what is well, whether it is, else how bad, what is wrong, and
-- what to do. Only for a table that exists. $1 = keep is 0, $2 = wake-ups are wanted, $3 = versions are ids.
WITH own AS (
	SELECT a.attrelid, a.attnum, a.attname FROM pg_attribute a
	WHERE a.attrelid = {table_literal}::regclass AND NOT a.attisdropped
	  AND a.attname IN ('created_at', 'processed', 'processed_at', 'attempts', 'retry_at', 'dead_at', 'error')
), sequence AS (
	SELECT s.seqrelid, s.seqcache, a.attname FROM pg_sequence s
	JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
	JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
	WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {table_literal}::regclass
)
SELECT well, fine, state, wrong, advice FROM (VALUES
	(1, 'it has the relay''s columns', (SELECT count(*) = 7 FROM own), 'problem',
	 'columns of the relay are missing', 'run `outboxd init`'),
	(2, 'it is an ordinary table without children, or partitioned by its ids', {shape} IN ('plain', 'partitioned'), 'problem', {shape},
	 'give outboxd a table of its own'),
	(3, 'the index for claims is valid',
	 coalesce((SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass({lane_index_literal})), false), 'problem',
	 'the index for claims is missing or invalid', 'run `outboxd init`: without it every claim reads the whole table'),
	(4, 'this role may read it', has_table_privilege({table_literal}, 'SELECT'), 'problem',
	 'this role may not read it', format('run GRANT SELECT ON %s TO %I', {table_literal}, current_user)),
	(5, 'this role may mark rows', NOT EXISTS (SELECT FROM own WHERE NOT has_column_privilege(attrelid, attnum, 'UPDATE')
		AND attname <> 'created_at'), 'problem',
	 'this role may not mark rows', format('run GRANT UPDATE (processed, processed_at, attempts, retry_at, dead_at, error) ON %s TO %I', {table_literal}, current_user)),
	(6, 'this role may delete delivered rows', has_table_privilege({table_literal}, 'DELETE'),
	 CASE WHEN $1::boolean THEN 'problem' ELSE 'warning' END, 'this role may not delete delivered rows',
	 format('run GRANT DELETE ON %s TO %I, or delete them by other means', {table_literal}, current_user)),
	(7, 'this role may read the sequence of the ids', NOT $3::boolean OR NOT EXISTS (SELECT FROM sequence
		WHERE attname = {id_column_literal} AND NOT has_sequence_privilege(seqrelid, 'SELECT')), 'warning',
	 'this role may not read the sequence of the ids, so ids that went back are not noticed',
	 (SELECT format('run GRANT SELECT ON SEQUENCE %s TO %I', seqrelid::regclass, current_user) FROM sequence
	  WHERE attname = {id_column_literal} LIMIT 1)),
	(8, 'ids are handed out in order', NOT EXISTS (SELECT FROM sequence WHERE seqcache > 1), 'problem',
	 'a sequence with a cache lets a later event have a smaller id',
	 (SELECT format('run ALTER SEQUENCE %s CACHE 1', seqrelid::regclass) FROM sequence WHERE seqcache > 1 LIMIT 1)),
	(9, 'no row is hidden by row security', NOT row_security_active({table_literal}), 'problem',
	 'row security may hide rows from this role', 'give the role BYPASSRLS or a policy'),
	(10, 'its trigger wakes the relays', NOT $2::boolean OR EXISTS (SELECT FROM pg_trigger t
		WHERE t.tgrelid = {table_literal}::regclass AND t.tgname = 'outboxd_notify' AND t.tgenabled <> 'D'), 'warning',
	 'no trigger wakes the relays: events wait for the next look (relay.poll_interval)',
	 'run `outboxd init --notify`, or set relay.notify = false'),
	(11, 'autovacuum is on', current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean
		AND NOT EXISTS (SELECT FROM pg_class t, pg_options_to_table(t.reloptions) AS o
			WHERE t.oid = {table_literal}::regclass AND o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean),
	 'warning', 'autovacuum is off: the table grows and claims get slower',
	 format('run ALTER TABLE %s RESET (autovacuum_enabled), and look at autovacuum and track_counts in postgresql.conf',
		{table_literal})),
	(12, 'there is room for notifications', pg_notification_queue_usage() < 0.5, 'problem', 'the NOTIFY queue fills up',
	 'end the session that listens and sits in a transaction (pg_stat_activity)'),
	(13, 'the server ends no idle session', coalesce(current_setting('idle_session_timeout', true), '0') = '0', 'warning',
	 'idle_session_timeout ends sessions of the relay that wait for events: it connects again each time, and logs it',
	 format('run ALTER ROLE %I SET idle_session_timeout = 0', current_user)),
	(14, 'this role may make and drop partitions', NOT EXISTS (SELECT FROM pg_proc f JOIN pg_class c ON c.oid = {table_literal}::regclass
		WHERE f.oid = to_regprocedure({rotate_literal}) AND (f.proowner <> c.relowner OR NOT has_function_privilege(f.oid, 'EXECUTE'))), 'warning',
	 'no partitions are made ahead and dropped behind: this role may not call the function for it, or its owner is not that of the table',
	 format('run `outboxd init` as the owner of the table, or GRANT EXECUTE ON FUNCTION %s TO %I', {rotate_literal}, current_user)),
	(15, 'empty partitions are ahead', 0 < (SELECT count(*) FROM {partitions} AS p
		WHERE p.low > coalesce((SELECT max(pg_sequence_last_value(seqrelid::regclass)) FROM sequence
			WHERE attname = {id_column_literal} AND has_sequence_privilege(seqrelid, 'SELECT')), 0)), 'warning',
	 'no empty partition is ahead: soon events go to the DEFAULT partition, which is purged by deleting, not dropping',
	 'start the daemon, which makes them'),
	(16, 'the DEFAULT partition is empty', coalesce(pg_relation_size((SELECT partdefid FROM pg_partitioned_table
		WHERE partrelid = {table_literal}::regclass)::regclass), 0) = 0, 'warning',
	 'the DEFAULT partition has rows: no other was there for them. They are delivered, and purged by deleting',
	 'nothing, if no daemon ran for long: they go in time')
) AS finding(number, well, fine, state, wrong, advice)
WHERE number < 14 OR ({shape} = 'partitioned' AND (number = 16 OR to_regprocedure({rotate_literal}) IS NOT NULL))
ORDER BY number
