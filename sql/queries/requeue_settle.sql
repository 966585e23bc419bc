-- Settles dead rows whose document has moved on, as requeue_plan.sql found them.
WITH settled AS (
	UPDATE {table} o SET processed = true, processed_at = now(),
		error = o.error || jsonb_build_object('superseded_by', m.newer)
	FROM json_to_recordset($1::json) AS m(id bigint, newer bigint)
	WHERE ({id}) = m.id AND o.processed = false AND o.dead_at IS NOT NULL RETURNING 1)
SELECT count(*) FROM settled
