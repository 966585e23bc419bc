-- $1 to $4 as in dead_selected.sql. The + 0 keeps the planner from walking through all delivered rows to the first dead one.
SELECT ({id})::bigint AS id, to_char(o.dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS dead_at, o.attempts,
       o.error->>'index' AS index, o.error->>'id' AS document_id, CASE WHEN jsonb_typeof(o.error->'status') = 'number' THEN (o.error->>'status')::int END AS status,
       o.error->>'type' AS type, o.error->>'reason' AS reason
FROM {table} o
WHERE {dead_selected}
ORDER BY ({id})::bigint + 0 LIMIT $5
