-- What a relay must know of its table after each connect, in one row.
SELECT c.oid::bigint,
       (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
        AND a.attname IN ('created_at', 'processed', 'processed_at', 'attempts', 'retry_at', 'dead_at', 'error')),
       coalesce((SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass({lane_index_literal})), false),
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'outboxd_notify' AND t.tgenabled <> 'D'),
       pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
       current_setting('server_version_num')::bigint,
       c.oid IS NOT NULL AND row_security_active(c.oid),
       {shape},
       (SELECT s.seqrelid::bigint FROM pg_sequence s
        JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND a.attname = {id_column_literal}
          AND has_sequence_privilege(s.seqrelid, 'SELECT') LIMIT 1),
       coalesce(has_function_privilege(to_regprocedure({rotate_literal})::oid, 'EXECUTE'), false),
       pg_backend_pid()
FROM (SELECT to_regclass({table_literal}) AS oid) AS c
