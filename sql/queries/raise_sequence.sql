-- After a failover or restore that lost ids: lifts the sequence above every version that Elasticsearch was seen to hold
-- beyond it, and numbers the undelivered rows anew in their order, so that they win. So are the younger rows of their
-- documents, dead ones too, or the older state would win over them. One transaction, with the table to itself: a writer that
-- drew an id before and commits after would be overtaken, and with relays it would wait in a circle.
DO $outboxd_raise$
DECLARE
	sequence text := pg_get_serial_sequence({table_literal}, {id_column_literal});
	future bigint;
	r record;
	renumbered bigint := 0;
BEGIN
	IF sequence IS NULL THEN
		RAISE EXCEPTION 'the ids of % come from no sequence of its own', {table_literal};
	END IF;
	PERFORM set_config('lock_timeout', '15s', true);
	LOCK TABLE {table} IN EXCLUSIVE MODE;
	SELECT max(substring(o.error->>'reason' FROM 'current version \[(\d+)\]')::bigint) INTO future
	FROM {table} o WHERE o.processed = false AND o.error->>'type' = 'version_from_the_future';
	IF future IS NOT NULL THEN
		PERFORM setval(sequence, greatest(future, pg_sequence_last_value(sequence::regclass)));
		FOR r IN
			WITH low AS MATERIALIZED (
				SELECT coalesce(({key})::text, '') AS key, min({id}) AS id FROM {table} o
				WHERE o.processed = false AND o.dead_at IS NULL AND ({id}) <= future GROUP BY 1)
			SELECT o.{row} AS tid FROM {table} o JOIN low ON coalesce(({key})::text, '') = low.key
			WHERE o.processed = false AND ({id}) >= low.id
			  AND (o.dead_at IS NULL OR (o.error->>'index' IS NOT NULL AND o.error->>'id' IS NOT NULL))
			ORDER BY ({id})
		LOOP
			UPDATE {table} SET {id_column} = DEFAULT, retry_at = NULL WHERE {row} = r.tid;
			renumbered := renumbered + 1;
		END LOOP;
	END IF;
	PERFORM set_config('outboxd.raised_to', coalesce(future, 0)::text, true);
	PERFORM set_config('outboxd.renumbered', renumbered::text, true);
END
$outboxd_raise$
