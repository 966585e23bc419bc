-- $1 to $4 as in dead_selected.sql. The + 0 keeps the planner from walking through all delivered rows to the first dead one.
SELECT ({id})::bigint AS id, coalesce(to_char(o.dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), o.dead_at::text) AS dead_at, o.attempts,
       o.error->>'index' AS index, o.error->>'id' AS document_id, CASE WHEN jsonb_typeof(o.error->'status') = 'number' THEN (o.error->>'status')::int END AS status,
       o.error->>'type' AS type,
       CASE WHEN o.error IS NULL THEN 'no error is noted: dead_at was not set by outboxd' ELSE o.error->>'reason' END AS reason
FROM {table} o
WHERE {dead_selected}
ORDER BY ({id})::bigint + 0 LIMIT $5
