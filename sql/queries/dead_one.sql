-- One dead event whole, but for its document.
SELECT ({id})::bigint AS id, to_char(o.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
       coalesce(to_char(o.dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), o.dead_at::text) AS dead_at, o.attempts,
       CASE WHEN isfinite(o.dead_at) THEN extract(epoch FROM now() - o.dead_at)::float8 ELSE 0 END AS dead_seconds, o.error->>'index' AS index,
       o.error->>'id' AS document_id, o.error->>'type' AS type, coalesce(o.error, '{"reason": "no error is noted: dead_at was not set by outboxd"}')::text AS error
FROM {table} o
WHERE o.processed = false AND o.dead_at IS NOT NULL AND ({id}) = ANY ($1::bigint[]) LIMIT 1
