-- Partitions ahead of the ids, or drops one behind: as the table's owner, since the relay's role is not. The function knows its
-- table's name, since it believes no search_path, and how many ids a partition has at least ({partition_rows}, NULL = as before).
-- keep_ms = how long delivered rows stay; NULL = partitions are made, and none is dropped.
-- A lock that is not had soon is done without (busy), since writers would queue behind it. One drop a call: nothing is looked
-- through with the table locked. Of what is dropped all was delivered long enough ago. Who has written into it keeps it by his
-- lock; who has drawn an id of it and writes later finds the DEFAULT partition, which takes what no other takes. Where a row that
-- is not delivered keeps a partition, where one cannot be dropped, and in the DEFAULT one, what is old is to be deleted as in a
-- plain table: among the ids below `below`.
DO $outboxd$
DECLARE
	outbox CONSTANT regclass := {table_literal};
	named CONSTANT text := (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = outbox);
	owner CONSTANT regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = outbox);
	known CONSTANT text := (SELECT substring(pg_get_expr(p.proargdefaults, 'pg_class'::regclass) FROM '[0-9]+') FROM pg_proc p
		WHERE p.oid = to_regprocedure({rotate_literal}));
BEGIN
	EXECUTE replace(replace($rotate$
CREATE OR REPLACE FUNCTION {rotate}(keep_ms bigint, rows bigint DEFAULT @rows@, OUT created int, OUT dropped int, OUT busy boolean,
	OUT below bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' SET enable_seqscan = on
SET default_tablespace = '' SET default_table_access_method = heap AS $body$
#variable_conflict use_column
DECLARE
	outbox CONSTANT regclass := @outbox@;
	home CONSTANT regnamespace := (SELECT c.relnamespace FROM pg_class c WHERE c.oid = outbox);
	stem CONSTANT text := (SELECT CASE WHEN octet_length(c.relname) <= 40 THEN c.relname ELSE 'outboxd_' || md5(c.relname) END
		FROM pg_class c WHERE c.oid = outbox);
	likeness CONSTANT text := format('(LIKE %s INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES EXCLUDING STATISTICS EXCLUDING COMMENTS)', outbox);
	drawn CONSTANT bigint := coalesce(pg_sequence_last_value(pg_get_serial_sequence(outbox::text, {id_column_literal})::regclass), 0);
	old CONSTANT timestamptz := now() - keep_ms * interval '1 millisecond';
	undelivered CONSTANT text := 'SELECT EXISTS (SELECT FROM %1$s WHERE processed = false AND dead_at IS NULL)
		OR EXISTS (SELECT FROM %1$s WHERE processed = false AND dead_at IS NOT NULL)';
	size bigint;
	top bigint;
	yes boolean;
	part record;
BEGIN
	IF keep_ms IS NOT NULL AND current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'partitions are dropped in a READ COMMITTED transaction: an older snapshot shows them without what was written since';
	END IF;
	created := 0;
	dropped := 0;
	busy := false;
	IF NOT pg_try_advisory_xact_lock(hashtextextended('outboxd rotate ' || outbox::oid, 0)) THEN
		RETURN;
	END IF;
	IF keep_ms IS NULL THEN
		BEGIN
			IF (SELECT partdefid = 0 FROM pg_partitioned_table WHERE partrelid = outbox) THEN
				EXECUTE format('CREATE TABLE %s.%I PARTITION OF %s DEFAULT', home, stem || '_default', outbox);
			END IF;
		EXCEPTION WHEN lock_not_available THEN
			busy := true;
			RETURN;
		END;
		-- Each costs every claim a little, so that a twentieth of all is one at least.
		SELECT max(p.high), (drawn - min(p.low)) / 20 INTO top, size FROM {partitions} AS p;
		size := greatest(rows, size);
		IF top IS NULL THEN
			top := drawn / size * size;
		ELSIF top < drawn + rows THEN
			-- The DEFAULT one takes the ids up to there: an INSERT that began before would fail at the bounds of a partition made since.
			top := (drawn / size + 2) * size;
		END IF;
		FOR attempt IN 1..20 LOOP
			EXIT WHEN (SELECT count(*) >= 2 FROM {partitions} AS p WHERE p.low > drawn);
			BEGIN
				-- Attached, not made as a partition: that would lock out all who write.
				EXECUTE format('CREATE TABLE %s.%I %s', home, stem || '_p' || top, likeness);
				EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s.%I FOR VALUES FROM (%s) TO (%s)', outbox, home, stem || '_p' || top, top, top + size);
				created := created + 1;
			EXCEPTION
				WHEN lock_not_available THEN
					busy := true;
					EXIT;
				WHEN check_violation OR duplicate_table THEN
					NULL; -- rows of this range are in the DEFAULT one, or the name is taken
			END;
			top := top + size;
		END LOOP;
		RETURN;
	END IF;
	FOR part IN SELECT * FROM {partitions} AS p WHERE p.high <= drawn ORDER BY p.low LOOP
		BEGIN
			PERFORM set_config('enable_seqscan', 'off', true);
			EXECUTE format('SELECT coalesce(processed_at, created_at) >= $1 FROM %s ORDER BY %s DESC LIMIT 1', part.name, {id_column_literal})
				INTO yes USING old;
			IF yes THEN
				below := coalesce(below, part.low);
				EXIT;
			END IF;
			EXECUTE format(undelivered, part.name) INTO yes;
			CONTINUE WHEN yes;
			PERFORM set_config('enable_seqscan', 'on', true);
			EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE coalesce(processed_at, created_at) >= $1)', part.name) INTO yes USING old;
			IF yes THEN
				below := coalesce(below, part.low);
				CONTINUE;
			END IF;
			-- With it and the DEFAULT one, whose bounds change, for whose lock nobody shall wait who has that of the table.
			PERFORM set_config('enable_seqscan', 'off', true);
			EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', outbox);
			EXECUTE (SELECT format('LOCK TABLE %s, %s IN ACCESS EXCLUSIVE MODE NOWAIT', part.name, partdefid::regclass)
				FROM pg_partitioned_table WHERE partrelid = outbox);
			EXECUTE format(undelivered, part.name) INTO yes;
			IF yes THEN
				RAISE lock_not_available; -- somebody has written into it just now
			END IF;
			EXECUTE format('DROP TABLE %s', part.name);
			dropped := 1;
			RETURN;
		EXCEPTION
			WHEN lock_not_available OR deadlock_detected THEN
				busy := true;
				below := coalesce(below, part.low);
				EXIT;
			WHEN query_canceled THEN -- it was the last that is timed
				RAISE WARNING 'partition % is not dropped: %', part.name, SQLERRM;
				below := coalesce(below, part.high);
				EXIT;
			WHEN OTHERS THEN
				RAISE WARNING 'partition % is not dropped: %', part.name, SQLERRM;
		END;
	END LOOP;
	below := coalesce(below, (SELECT min(p.low) FROM {partitions} AS p WHERE p.high > drawn));
END
$body$
$rotate$, '@outbox@', quote_literal(named)), '@rows@', coalesce({partition_rows}::text, known, '1000000'));
	EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', {rotate_literal}::regprocedure);
	EXECUTE format('ALTER FUNCTION %s OWNER TO %s', {rotate_literal}::regprocedure, owner);
END
$outboxd$
