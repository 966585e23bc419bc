-- Dead events for the status page, as one JSON text; NULL = it would be larger than an answer of the admin interface may be, and is
-- not even fetched. The + 0 keeps the planner from walking through all delivered rows to the first dead one.
SELECT CASE WHEN octet_length(list.text) <= 1000000 THEN list.text END
FROM (SELECT coalesce(json_agg(d), '[]')::text AS text
      FROM (SELECT ({id})::bigint AS id, coalesce(to_char(o.dead_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), o.dead_at::text) AS dead_at,
                   o.attempts, left(o.error->>'index', 600) AS index, left(o.error->>'id', 600) AS document_id,
                   CASE WHEN jsonb_typeof(o.error->'status') = 'number' THEN o.error->'status' END AS status,
                   left(o.error->>'type', 200) AS type,
                   CASE WHEN o.error IS NULL THEN 'no error is noted: dead_at was not set by outboxd' ELSE left(o.error->>'reason', 1000) END AS reason
            FROM {table} o WHERE o.processed = false AND o.dead_at IS NOT NULL
            ORDER BY ({id}) + 0 LIMIT $1::bigint) AS d) AS list
