-- Before the accepted rows are marked: locks the older refused events, in a statement of its own, so that supersede.sql sees them
-- as they are by then. One that somebody else holds, who is just correcting or requeueing it, would make the whole batch
-- wait for him: only the accepted event of its document waits, at last 8 s at a time, and is sent once more. It says its
-- document, as a refused one does, or a newer event could not settle it. Nor settles anything what conflicts.sql made wait: it
-- has moved. One row: how many are held.
WITH locked AS MATERIALIZED (
	SELECT l.newer, count(*) AS events FROM ({older} FOR NO KEY UPDATE OF r SKIP LOCKED) l GROUP BY 1
), found AS MATERIALIZED (
	SELECT f.newer, f.index, f.id, f.event, count(*) AS events FROM ({older}) f GROUP BY 1, 2, 3, 4
), held AS (
	UPDATE {only}{table} t
	SET retry_at = now() + w.seconds * interval '1 second',
	    error = jsonb_build_object('type', 'older_event_is_held', 'attempt', t.attempts, 'index', f.index, 'id', f.id, 'wait', w.seconds,
			'reason', 'delivered, but another transaction holds an older refused event of this document')
	FROM found f LEFT JOIN locked l ON l.newer = f.newer
	CROSS JOIN LATERAL (SELECT b.error FROM {table} b WHERE b.{row} = f.newer{unmoved}) before
	CROSS JOIN LATERAL (SELECT CASE WHEN before.error->>'type' = 'older_event_is_held'
		THEN least(8, 2 * (before.error->>'wait')::int) ELSE 1 END AS seconds) w
	WHERE t.{row} = f.newer AND l.events IS DISTINCT FROM f.events
	RETURNING f.event
), waiting AS (
	SELECT event FROM held
	UNION ALL
	SELECT a.event FROM jsonb_to_recordset($1::jsonb) AS a(tid {row_type}, event bigint)
	WHERE NOT EXISTS (SELECT FROM {table} n WHERE n.{row} = a.tid{unmoved})
)
SELECT (SELECT count(*) FROM held),
       set_config('outboxd.waiting', (SELECT coalesce(array_agg(event), '{}')::text FROM waiting), true)
