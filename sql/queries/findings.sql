-- What `outboxd check` looks at, a row each: what, whether it is fine, and what to do. Only for a table that exists.
SELECT what, fine, advice FROM (VALUES
	(1, 'columns', (SELECT count(*) = 7 FROM pg_attribute a WHERE a.attrelid = {table_literal}::regclass AND NOT a.attisdropped
		AND a.attname IN ('created_at', 'processed', 'processed_at', 'attempts', 'retry_at', 'dead_at', 'error')),
	 'run outboxd init'),
	(2, 'an ordinary table without children', EXISTS (SELECT FROM pg_class t WHERE t.oid = {table_literal}::regclass AND t.relkind = 'r')
		AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = {table_literal}::regclass),
	 'give outboxd a table of its own'),
	(3, 'index for claims', coalesce((SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass({lane_index_literal})), false),
	 'run outboxd init: without it every claim reads the whole table'),
	(4, 'may be read and marked', has_table_privilege({table_literal}, 'SELECT') AND has_any_column_privilege({table_literal}, 'UPDATE'),
	 'GRANT SELECT, UPDATE on the table to this role (and DELETE for keep = 0 and the purge)'),
	(5, 'no row security', NOT row_security_active({table_literal}),
	 'row security may hide rows from this role: give it BYPASSRLS or a policy'),
	(6, 'writable server', NOT pg_is_in_recovery(), 'this is a standby: name all hosts with target_session_attrs=read-write'),
	(7, 'room for notifications', pg_notification_queue_usage() < 0.5,
	 'the NOTIFY queue fills up: some session listens and sits in a transaction'),
	(8, 'versions', NOT EXISTS (SELECT FROM {table} o WHERE o.processed = false AND o.error->>'type' = 'version_from_the_future'),
	 'Elasticsearch holds versions that this table never drew: its ids went back; run outboxd check --raise-sequence')
) AS finding(number, what, fine, advice) ORDER BY number
