-- The least that run, status, check, dead, requeue and purge need: the relay reads rows, marks them and deletes them. It
-- writes no event and changes none. A password is given to it by hand. What a mapping reads besides (a view, a
-- function) is granted by hand, too.
DO $outboxd$
DECLARE
	statement text;
BEGIN
	IF to_regrole('{role}') IS NULL THEN
		CREATE ROLE {role} LOGIN;
	END IF;
	FOR statement IN
		SELECT format('GRANT CONNECT ON DATABASE %I TO {role}', current_database())
		UNION ALL
		SELECT format('GRANT USAGE ON SCHEMA %s TO {role}', relnamespace::regnamespace)
		FROM pg_class WHERE oid = {table_literal}::regclass
		UNION ALL
		SELECT format('GRANT SELECT ON SEQUENCE %s TO {role}', s.seqrelid::regclass)
		FROM pg_sequence s
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
		JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {table_literal}::regclass
		  AND a.attname = {id_column_literal}
		UNION ALL
		SELECT format('GRANT EXECUTE ON FUNCTION %s TO {role}', p.oid::regprocedure)
		FROM pg_proc p WHERE p.oid = to_regprocedure({rotate_literal})
	LOOP
		EXECUTE statement;
	END LOOP;
END
$outboxd$;
GRANT SELECT, DELETE, UPDATE (processed, processed_at, attempts, retry_at, dead_at, error) ON {table} TO {role}
