-- One dead event whole, but for its document.
SELECT ({id})::bigint AS id, to_char(o.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
       to_char(o.dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS dead_at, o.attempts,
       extract(epoch FROM now() - o.dead_at)::float8 AS dead_seconds, o.error->>'index' AS index,
       o.error->>'id' AS document_id, o.error->>'type' AS type, coalesce(o.error, '{}')::text AS error
FROM {table} o
WHERE o.processed = false AND o.dead_at IS NOT NULL AND ({id}) = ANY ($1::bigint[]) LIMIT 1
