-- What a requeue of these dead rows ($1 to $4 as in dead_selected.sql) means: how many there are, how many of their documents have
-- moved on (a newer event of it was delivered: such a row is settled), and the first $5 of the latter. The delivered rows are
-- read once per command, and by parallel workers: nothing here writes, and no CTE is materialized.
-- The + 0 keeps the planner from walking through all delivered rows to the first dead one.
WITH d AS NOT MATERIALIZED (
	SELECT ({id})::bigint AS id, o.error->>'index' AS index, o.error->>'id' AS document_id
	FROM {table} o
	WHERE {dead_selected}
)
SELECT (SELECT count(*) FROM d), count(*),
       coalesce(json_agg(json_build_object('id', m.id, 'newer', m.newer)) FILTER (WHERE m.number <= $5::bigint), '[]')::text
FROM (SELECT d.id, max(n.id) AS newer, row_number() OVER () AS number
      FROM d JOIN (SELECT ({id})::bigint AS id, ({index})::text AS index, ({document_id})::text AS document_id
                   FROM {table} o WHERE o.processed AND ({id}) > (SELECT min(id + 0) FROM d)) AS n
        ON n.index = d.index AND n.document_id = d.document_id AND n.id > d.id
      GROUP BY d.id) AS m
