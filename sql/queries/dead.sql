-- $1 ids, $2 type, $3 index, $4 document id: '{}' or NULL = any. Who gives up a row notes an error: without ids only the
-- index of refused rows is read, and the + 0 keeps the planner from walking through all delivered rows to the first dead one.
SELECT ({id})::bigint AS id, to_char(o.dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS dead_at, o.attempts,
       o.error->>'index' AS index, o.error->>'id' AS document_id, CASE WHEN jsonb_typeof(o.error->'status') = 'number' THEN (o.error->>'status')::int END AS status,
       o.error->>'type' AS type, o.error->>'reason' AS reason
FROM {table} o
WHERE o.processed = false AND o.dead_at IS NOT NULL AND (o.error IS NOT NULL OR $1::bigint[] <> '{}')
  AND ($1::bigint[] = '{}' OR ({id}) = ANY ($1::bigint[]))
  AND ($2::text IS NULL OR coalesce(o.error->>'type', '') = $2::text)
  AND ($3::text IS NULL OR o.error->>'index' = $3::text)
  AND ($4::text IS NULL OR (hashtextextended(o.error->>'id', 0) = hashtextextended($4::text, 0) AND o.error->>'id' = $4::text))
ORDER BY ({id})::bigint + 0 LIMIT $5
