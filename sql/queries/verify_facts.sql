-- What `outboxd verify` must know besides track_facts.sql: one row, whose columns are blanks of the other verify_*.sql.
-- $1 = the tracked table, $2 = its key column, $3 = its index.
SELECT CASE WHEN pg_is_in_recovery() THEN 'this is a standby, which may lag behind: ask the primary' END AS problem,
	-- The key k.key as the column has it; NULL = no such key can be. An id that no row can have must not be an error.
	CASE WHEN y.typcategory = 'S' THEN 'k.key::' || CASE y.type WHEN 'character' THEN 'bpchar' ELSE y.type END
	     WHEN y.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN
		$$CASE WHEN k.key ~ '^-?[0-9]{1,19}$' THEN CASE WHEN k.key::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 THEN k.key::bigint END END$$
	     WHEN y.oid = 'numeric'::regtype THEN $$CASE WHEN k.key ~ '^(-?[0-9]+([.][0-9]+)?|NaN)$' THEN k.key::numeric END$$
	     WHEN y.oid = 'uuid'::regtype THEN $$CASE WHEN k.key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN k.key::uuid END$$
	     WHEN current_setting('server_version_num')::int >= 160000 THEN
		format('CASE WHEN pg_input_is_valid(k.key, %L) THEN k.key::%s END', y.type, y.type)
	     ELSE 'k.key::' || y.type END AS key_value,
	-- Before 16 PostgreSQL cannot be asked whether any other type takes an id.
	y.typcategory = 'S' OR y.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'uuid'::regtype)
		OR current_setting('server_version_num')::int >= 160000 AS tells_ids,
	-- Documents of other tables are no surplus of this one.
	EXISTS (SELECT FROM {tracks} f WHERE f.about->>'index' = $3::text AND f.about->>'table' <> $1::text) AS shared,
	EXISTS (SELECT FROM {tracks} f WHERE f.about->>'index' = $3::text AND f.about->>'table' = $1::text) AS is_tracked
FROM (SELECT b.oid, b.typcategory, format_type(b.oid, NULL) AS type
      FROM pg_attribute a
      JOIN pg_type t ON t.oid = a.atttypid
      JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
      WHERE a.attrelid = $1::text::regclass AND a.attname = $2::text) y
