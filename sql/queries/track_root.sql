-- The events of a tracked table. Only the keys come from the trigger; the document is read from the table, where it is
-- the newest whatever else fired meanwhile (triggers of the application, a MERGE, two cascades on one row). The write
-- itself holds the row's lock when the id of its event is drawn, so for each document ids follow commits. One plan for all: that
-- an array of one key is planned a little cheaper than a list is no reason to plan anew for each row. Since it may be made while
-- the table is empty, it looks up key by key (OFFSET) and by index, or a load row by row would read the whole table each time.
CREATE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {search_path} SET plan_cache_mode = force_generic_plan
SET TimeZone = 'UTC' SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
SET row_security = off SET enable_seqscan = off SET jit = off AS $outboxd$
#variable_conflict use_column
DECLARE
	outboxd_keys text[];
BEGIN
	IF TG_OP = 'INSERT' THEN
		outboxd_keys := (SELECT array_agg(DISTINCT outboxd_new.{row_key}::text) FROM {new_rows} outboxd_new);
	ELSIF TG_OP = 'DELETE' THEN
		outboxd_keys := (SELECT array_agg(DISTINCT outboxd_old.{row_key}::text) FROM {old_rows} outboxd_old);
	ELSIF TG_OP = 'UPDATE' THEN
		outboxd_keys := (
			SELECT array_agg(DISTINCT outboxd_key)
			FROM {old_rows} outboxd_old
			FULL JOIN {new_rows} outboxd_new ON outboxd_new.{row_key}::text = outboxd_old.{row_key}::text
			CROSS JOIN LATERAL unnest(ARRAY[outboxd_old.{row_key}::text, outboxd_new.{row_key}::text]) outboxd_key
			WHERE outboxd_key IS NOT NULL
			  AND (outboxd_old.{row_key} IS NULL OR outboxd_new.{row_key} IS NULL OR NOT ({before} *= {after})));
	ELSE
		{truncate}
	END IF;
	INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
	SELECT lower(TG_OP), {index_literal}, k.key, d.document
	FROM unnest(outboxd_keys) k(key)
	LEFT JOIN LATERAL (
		SELECT {row_document} AS document FROM {tracked} t
		WHERE t.{row_key} = k.key::{key_type} AND t.{row_key}::text = k.key AND ({condition}) OFFSET 0) d ON true
	-- What comes into the index must be there, what leaves it need not have been.
	WHERE d.document IS NOT NULL OR TG_OP <> 'INSERT'
	ORDER BY k.key;
	RETURN NULL;
END
$outboxd$;
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
COMMENT ON FUNCTION {function}() IS {about}
