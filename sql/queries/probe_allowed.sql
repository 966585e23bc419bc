-- What `outboxd probe` may do to the table, and how an event is written into it.
SELECT t.oid IS NOT NULL, concat_ws(', ',
		CASE WHEN NOT has_table_privilege(t.oid, 'SELECT') THEN 'SELECT' END,
		CASE WHEN NOT has_any_column_privilege(t.oid, 'INSERT') THEN 'INSERT' END,
		CASE WHEN NOT has_table_privilege(t.oid, 'DELETE') THEN 'DELETE' END),
       current_user, pg_is_in_recovery(),
       coalesce(has_function_privilege(to_regprocedure($outboxd${publish}(text, text, jsonb, text)$outboxd$)::oid, 'EXECUTE'),
		false),
       columns @> '{aggregate_type,aggregate_id,data}', columns @> '{aggregatetype,aggregateid,type,payload}'
FROM (SELECT to_regclass({table_literal})::oid AS oid) AS t
CROSS JOIN LATERAL (
	SELECT coalesce(array_agg(a.attname::text), '{}') AS columns FROM pg_attribute a WHERE a.attrelid = t.oid AND NOT a.attisdropped
) AS c
