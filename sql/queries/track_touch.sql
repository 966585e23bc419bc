-- A change of a child is a new document of its parent. The parent is locked before its document is read and the id
-- drawn: whoever waits here for another child's writer then sees what that one committed. A parent that is gone has its
-- own event.
CREATE OR REPLACE FUNCTION {touch_function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {search_path} AS $outboxd$
DECLARE
	parents {key_type}[];
BEGIN
	IF TG_OP = 'INSERT' THEN
		parents := (SELECT array_agg(DISTINCT c.{child_column}) FROM {new_rows} c);
	ELSIF TG_OP = 'DELETE' THEN
		parents := (SELECT array_agg(DISTINCT c.{child_column}) FROM {old_rows} c);
	ELSIF TG_OP = 'UPDATE' THEN
		parents := (SELECT array_agg(DISTINCT c.parent)
		            FROM (SELECT o.{child_column} AS parent FROM {old_rows} o
		                  UNION ALL SELECT n.{child_column} FROM {new_rows} n) c);
	{truncate}
	END IF;
	PERFORM FROM {tracked} t WHERE t.{row_key} = ANY (parents) ORDER BY t.{row_key} FOR NO KEY UPDATE;
	INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
	SELECT 'touch', {index_literal}, (n.r).{row_key}::text, {row_document}
	FROM (SELECT t AS r FROM {tracked} t WHERE t.{row_key} = ANY (parents) AND ({condition})) n
	ORDER BY (n.r).{row_key};
	RETURN NULL;
END
$outboxd$;
REVOKE ALL ON FUNCTION {touch_function}() FROM PUBLIC;
COMMENT ON FUNCTION {touch_function}() IS {about}
