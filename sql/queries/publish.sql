-- Per-key lock first, then the id: so the order of ids is the order of commits for each document.
-- Call it after the entity's own INSERT, UPDATE or DELETE, in the same transaction. NULL data is a delete.
CREATE OR REPLACE FUNCTION {publish}(aggregate_type text, aggregate_id text, data jsonb, event text DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql AS $outboxd$
DECLARE
	new_id bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended('outboxd ' || $1 || ' ' || $2, 0));
	INSERT INTO {table} (event, aggregate_type, aggregate_id, data)
	VALUES ($4, $1, $2, $3) RETURNING id INTO new_id;
	RETURN new_id;
END
$outboxd$
