-- After a failover or restore that lost ids: lifts the sequence above every version that Elasticsearch was seen to hold
-- beyond it, and numbers the undelivered rows anew in their order, so that they win. One transaction: relays wait for
-- it or it for them.
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
	SELECT max(substring(o.error->>'reason' FROM 'current version \[(\d+)\]')::bigint) INTO future
	FROM {table} o WHERE o.processed = false AND o.error->>'type' = 'version_from_the_future';
	IF future IS NOT NULL THEN
		PERFORM setval(sequence, greatest(future, pg_sequence_last_value(sequence::regclass)));
		FOR r IN SELECT o.ctid AS tid FROM {table} o
			WHERE o.processed = false AND o.dead_at IS NULL AND ({id}) <= future ORDER BY ({id}) FOR UPDATE
		LOOP
			UPDATE {table} SET {id_column} = DEFAULT, retry_at = NULL WHERE ctid = r.tid;
			renumbered := renumbered + 1;
		END LOOP;
	END IF;
	PERFORM set_config('outboxd.raised_to', coalesce(future, 0)::text, false);
	PERFORM set_config('outboxd.renumbered', renumbered::text, false);
END
$outboxd_raise$
