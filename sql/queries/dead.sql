SELECT ({id})::bigint AS id, to_char(o.dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS dead_at, o.attempts,
       o.error->>'index' AS index, o.error->>'id' AS document_id, o.error->>'status' AS status,
       o.error->>'type' AS type, o.error->>'reason' AS reason
FROM {table} o
WHERE o.processed = false AND o.dead_at IS NOT NULL AND ($1::bigint[] = '{}' OR ({id}) = ANY ($1::bigint[]))
ORDER BY ({id}) LIMIT $2
