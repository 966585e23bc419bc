-- A mapping expression failed on some row of a claim, and with it the whole claim. Tries the mapping row by row, in
-- the lanes that this transaction holds, and makes the rows dead on which it fails. A DO block takes no
-- parameters: lanes.sql and sieve_limit.sql leave theirs in settings of the transaction.
DO $outboxd_sieve$
DECLARE
	r record;
	unused text;
	state text;
	message text;
	found int := 0;
BEGIN
	FOR r IN
		SELECT o.ctid AS tid
		FROM unnest(current_setting('outboxd.lanes')::int[]) AS want(lane)
		CROSS JOIN LATERAL (
			SELECT o.ctid FROM {table} o
			WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = want.lane
			  AND (o.retry_at IS NULL OR o.retry_at <= now())
			ORDER BY ({id}) LIMIT current_setting('outboxd.limit')::bigint
			FOR UPDATE OF o SKIP LOCKED) AS o
	LOOP
		BEGIN
			SELECT md5(concat(({id})::bigint, ({version})::bigint, ({index})::text, ({document_id})::text,
			       ({operation})::text, ({routing})::text, ({pipeline})::text, ({document})::text))
			INTO STRICT unused FROM {table} o WHERE o.ctid = r.tid;
		EXCEPTION WHEN data_exception OR cardinality_violation OR raise_exception THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
			UPDATE {table} SET attempts = attempts + 1, dead_at = now(),
				error = jsonb_build_object('type', 'mapping_expression_failed',
					'reason', state || ': ' || message, 'attempt', attempts + 1)
			WHERE ctid = r.tid;
			found := found + 1;
		END;
	END LOOP;
	PERFORM set_config('outboxd.sieved', found::text, true);
END
$outboxd_sieve$
