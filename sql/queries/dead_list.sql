-- Dead events for the status page, as one JSON text. The + 0 keeps
-- the planner from walking through all delivered rows to the first dead one.
SELECT coalesce(json_agg(d), '[]')::text
FROM (SELECT ({id})::bigint AS id, to_char(o.dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS dead_at,
             o.attempts, o.error->>'index' AS index, o.error->>'id' AS document_id, o.error->'status' AS status,
             o.error->>'type' AS type, left(o.error->>'reason', 1000) AS reason
      FROM {table} o WHERE o.processed = false AND o.error IS NOT NULL AND o.dead_at IS NOT NULL
      ORDER BY ({id}) + 0 LIMIT $1::bigint) AS d
