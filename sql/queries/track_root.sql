-- The events of a tracked table. The id of an event is drawn after its row was locked by the write itself, so for each
-- document ids follow commits. {new_rows} and {old_rows} are all rows of the statement, each document once; or, where
-- statement triggers do not fire (see track.c), the one row.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {search_path} AS $outboxd$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
		SELECT 'insert', {index_literal}, (n.r).{row_key}::text, {row_document}
		FROM (SELECT t AS r FROM {new_rows} t WHERE {condition}) n
		ORDER BY (n.r).{row_key};
	ELSIF TG_OP = 'DELETE' THEN
		INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
		SELECT 'delete', {index_literal}, (o.r).{row_key}::text, NULL
		FROM (SELECT t AS r FROM {old_rows} t WHERE {condition}) o
		ORDER BY (o.r).{row_key};
	ELSIF TG_OP = 'UPDATE' THEN
		-- Rows that swap their keys: an old key that has a row again is no delete.
		INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
		SELECT 'update', {index_literal}, coalesce((n.r).{row_key}, (o.r).{row_key})::text, CASE WHEN n.wanted THEN {row_document} END
		FROM (SELECT t AS r, ({condition}) IS TRUE AS wanted FROM {old_rows} t) o
		FULL JOIN (SELECT t AS r, ({condition}) IS TRUE AS wanted FROM {new_rows} t) n ON (n.r).{row_key} = (o.r).{row_key}
		WHERE CASE WHEN n.wanted THEN o.wanted IS NOT TRUE OR NOT ({before} *= {after})
		           ELSE o.wanted IS NOT FALSE AND (n.wanted IS NOT NULL
		              OR NOT EXISTS (SELECT FROM {tracked} x WHERE x.{row_key} = (o.r).{row_key})) END
		ORDER BY coalesce((n.r).{row_key}, (o.r).{row_key});
	{truncate}
	END IF;
	RETURN NULL;
END
$outboxd$;
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
COMMENT ON FUNCTION {function}() IS {about}
