-- May TRUNCATE of the table $2 do what $3 says to the documents of the index $1? One event deletes all of them, so they must be its
-- own, and stay so; and the mapping must take the event (track_query.sql) for what it is.
SELECT CASE
	WHEN $3::text = 'query' AND others.tables IS NOT NULL THEN
		format('%s is tracked into %s, too: a TRUNCATE would delete its documents with those of %s', others.tables, $1::text, $2::text)
	WHEN others.queried IS NOT NULL THEN
		format('a TRUNCATE of %s deletes all documents of %s (--truncate query): these would be among them', others.queried, $1::text)
	WHEN $3::text = 'query' AND ({operation})::text IS DISTINCT FROM 'delete_by_query' THEN
		format('outbox.operation makes %s of an event called delete_by_query, which is to be delete_by_query', ({operation})::text)
	END AS problem
FROM jsonb_populate_record(NULL::{outbox}, jsonb_build_object('event', 'delete_by_query', 'aggregate_type', $1::text,
		'aggregate_id', '', 'data', '{"query": {"match_all": {}}}'::jsonb)) o
CROSS JOIN (SELECT min(f.about->>'table') AS tables, min(f.about->>'table') FILTER (WHERE f.about->>'truncate' = 'query') AS queried
	FROM {tracks} f WHERE f.about->>'index' = $1::text AND f.about->>'table' <> $2::text) others
