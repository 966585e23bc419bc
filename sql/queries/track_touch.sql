-- A change of a child is a new document of its parent. The parent is locked before its document is read and the id
-- drawn: whoever waits here for another child's writer then sees what that one committed. A parent that is gone has its
-- own event.
CREATE FUNCTION {touch_function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {search_path} SET plan_cache_mode = force_generic_plan
SET TimeZone = 'UTC' SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
SET row_security = off SET enable_seqscan = off SET jit = off AS $outboxd$
#variable_conflict use_column
DECLARE
	outboxd_keys text[];
BEGIN
	IF TG_OP = 'INSERT' THEN
		outboxd_keys := (SELECT array_agg(DISTINCT outboxd_new.{child_column}::text) FROM {new_rows} outboxd_new);
	ELSIF TG_OP = 'DELETE' THEN
		outboxd_keys := (SELECT array_agg(DISTINCT outboxd_old.{child_column}::text) FROM {old_rows} outboxd_old);
	ELSIF TG_OP = 'UPDATE' THEN
		outboxd_keys := (
			SELECT array_agg(DISTINCT outboxd_key)
			FROM (SELECT outboxd_old.{child_column}::text AS outboxd_key FROM {old_rows} outboxd_old
			      UNION ALL SELECT outboxd_new.{child_column}::text FROM {new_rows} outboxd_new) outboxd_both);
	ELSE
		{truncate}
	END IF;
	PERFORM FROM {tracked} t WHERE t.{row_key} = ANY (outboxd_keys::{key_type}[]) ORDER BY t.{row_key} FOR NO KEY UPDATE;
	INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
	SELECT 'touch', {index_literal}, t.{row_key}::text, CASE WHEN {condition} THEN {row_document} END
	FROM {tracked} t WHERE t.{row_key} = ANY (outboxd_keys::{key_type}[])
	ORDER BY t.{row_key};
	RETURN NULL;
END
$outboxd$;
REVOKE ALL ON FUNCTION {touch_function}() FROM PUBLIC;
COMMENT ON FUNCTION {touch_function}() IS {about}
