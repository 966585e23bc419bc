-- What becomes of the delete_by_query event $1, as long as it is pending: nobody else meets it for $2 milliseconds, or, NULL, it is
-- dead, if document, version and index are still $4, $5 and $6. $3 = the error: of one that waits, added to what is known of it. Locks nothing beyond itself. One row: what is to be done.
UPDATE {table} o
SET attempts = o.attempts + CASE WHEN $2::bigint IS NULL THEN 1 ELSE 0 END,
    dead_at = CASE WHEN $2::bigint IS NULL THEN now() END,
    retry_at = clock_timestamp() + $2::bigint * interval '1 millisecond',
    error = jsonb_build_object('status', NULL, 'index', ({index})::text, 'id', NULL, 'attempt', o.attempts + 1)
	|| CASE WHEN $2::bigint IS NULL THEN '{}' ELSE jsonb_build_object('since', coalesce(o.error->'since', to_jsonb(extract(epoch FROM now())::bigint)),
		'wait_ms', coalesce(o.error->'wait_ms', '0'), 'writers', o.error->'writers') END
	|| $3::jsonb
WHERE ({id}) = $1::bigint AND o.processed = false AND o.dead_at IS NULL AND ({operation})::text = 'delete_by_query'
  AND ($2::bigint IS NOT NULL OR (({document})::text IS NOT DISTINCT FROM $4 AND ({version})::bigint IS NOT DISTINCT FROM $5::bigint
	AND ({index})::text IS NOT DISTINCT FROM $6))
RETURNING ({id})::bigint, ({version})::bigint, ({index})::text, ({document_id})::text, ({operation})::text, ({routing})::text,
          ({pipeline})::text, ({document})::text, o.error->>'wait_ms', o.error->>'writers',
          extract(epoch FROM now())::bigint - (o.error->>'since')::bigint
