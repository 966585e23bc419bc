-- A mapping expression failed on some row of a claim, and with it the whole claim. Tries the mapping row by row, in
-- the lanes that this transaction holds, and makes the rows dead on which it fails; index and id are noted when they
-- at least can be had, so that a newer event of the document settles the row. A mapping that fails on every row is
-- the mapping's fault and kills nothing. A DO block takes no parameters: lanes.sql and sieve_settings.sql leave
-- theirs in settings of the transaction.
DO $outboxd_sieve$
DECLARE
	l record;
	r record;
	state text;
	message text;
	index_name text;
	document_id text;
	trace text;
	passed int;
	all_passed int := 0;
	found int := 0;
BEGIN
	FOR l IN
		SELECT plan.lane, plan.bound
		FROM unnest(current_setting('outboxd.plan')::int[], current_setting('outboxd.bounds')::bigint[])
			AS plan(lane, bound)
		WHERE plan.lane = ANY (current_setting('outboxd.lanes')::int[])
	LOOP
		passed := 0;
		FOR r IN
			SELECT o.{row} AS tid FROM {table} o
			WHERE o.processed = false AND o.dead_at IS NULL AND {lane} = l.lane
			  AND ({id}) > l.bound AND ({id}) <= current_setting('outboxd.highest')::bigint
			  AND (o.retry_at IS NULL OR o.retry_at <= now())
			ORDER BY ({id})
			FOR UPDATE OF o SKIP LOCKED
		LOOP
			index_name := NULL;
			document_id := NULL;
			BEGIN
				SELECT ({index})::text, ({document_id})::text INTO index_name, document_id
				FROM {table} o WHERE o.{row} = r.tid;
				-- What the claim left out it did not fail on.
				CONTINUE WHEN index_name = ANY (current_setting('outboxd.paused')::text[]);
				PERFORM md5(concat(({id})::bigint, ({version})::bigint, ({operation})::text, ({routing})::text,
					({pipeline})::text, ({document})::text, ({trace})::text, ({refresh})::text)) FROM {table} o WHERE o.{row} = r.tid;
				passed := passed + 1;
			EXCEPTION WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
				-- Not this row's doing: resources, locks, shutdown, a mapping that the server does not understand.
				IF left(state, 2) IN ('08', '25', '40', '42', '53', '55', '57', '58') THEN
					RAISE;
				END IF;
				BEGIN
					-- As for a refused row: what is not printable, or endless, is no trace.
					SELECT ({trace})::text INTO trace FROM {table} o
					WHERE o.{row} = r.tid AND ({trace})::text ~ '^[!-~]+$' AND length(({trace})::text) <= 256;
				EXCEPTION WHEN OTHERS THEN
					trace := NULL;
				END;
				UPDATE {only}{table} o SET attempts = o.attempts + 1, dead_at = now(),
					error = jsonb_build_object('type', 'mapping_expression_failed',
						'reason', left(state || ': ' || message, 4000), 'attempt', o.attempts + 1,
						'index', index_name, 'id', document_id)
						|| CASE WHEN trace IS NULL THEN '{}' ELSE jsonb_build_object('trace', trace) END
				WHERE o.{row} = r.tid;
				found := found + 1;
			END;
			EXIT WHEN passed >= current_setting('outboxd.per_lane')::bigint;
		END LOOP;
		all_passed := all_passed + passed;
	END LOOP;
	IF found >= 20 AND all_passed = 0 THEN
		-- This goes to the log: PostgreSQL's own words quote the document.
		RAISE EXCEPTION 'a mapping expression fails on every one of % rows (SQLSTATE %): `outboxd check` says which, and why', found, state
			USING ERRCODE = 'syntax_error_or_access_rule_violation';
	END IF;
	PERFORM set_config('outboxd.sieved', found::text, true);
END
$outboxd_sieve$
