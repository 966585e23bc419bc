-- Dead rows become pending again, except those whose document has moved on: a newer event of it was delivered, so
-- these are settled. error stays: it tells what happened, and lets a newer delivered event settle the row later.
-- By id, not by ctid: a row that somebody is just editing is waited for, and taken as it is then.
WITH chosen AS (
	SELECT ({id})::bigint AS id, o.error->>'index' AS index, o.error->>'id' AS document_id
	FROM {table} o
	WHERE o.processed = false AND o.dead_at IS NOT NULL AND ($1::bigint[] = '{}' OR ({id}) = ANY ($1::bigint[]))
	FOR UPDATE
), moved AS (
	SELECT c.id, max(n.id) AS newer
	FROM chosen c
	JOIN (SELECT ({id})::bigint AS id, ({index})::text AS index, ({document_id})::text AS document_id
	      FROM {table} o WHERE o.processed AND ({id}) > (SELECT min(id) FROM chosen)) AS n
	  ON n.index = c.index AND n.document_id = c.document_id AND n.id > c.id
	GROUP BY c.id
), settled AS (
	UPDATE {table} o SET processed = true, processed_at = now(),
		error = o.error || jsonb_build_object('superseded_by', moved.newer)
	FROM moved WHERE ({id}) = moved.id AND o.processed = false AND o.dead_at IS NOT NULL RETURNING 1
), requeued AS (
	UPDATE {table} o SET dead_at = NULL, retry_at = NULL, attempts = 0
	FROM chosen WHERE ({id}) = chosen.id AND o.processed = false AND o.dead_at IS NOT NULL
		AND NOT EXISTS (SELECT FROM moved WHERE moved.id = chosen.id) RETURNING 1
)
SELECT (SELECT count(*) FROM requeued), (SELECT count(*) FROM settled)
