-- The next $6 dead rows ($1 to $4 as in dead_selected.sql, given up $5 milliseconds ago or longer), in the order of the index of
-- refused rows: after hash $7 and id $8, or, with $9, those without a document id, which it has at its end. A row that is left
-- as it is, is not met again.
WITH dead AS NOT MATERIALIZED (
	SELECT o.{row} AS tid, ({id})::bigint AS id, hashtextextended(o.error->>'id', 0) AS hash
	FROM {table} o
	WHERE {dead_selected}
	  AND ($5::bigint = 0 OR o.dead_at < now() - $5::bigint * interval '1 millisecond')
), chunk AS (
	(SELECT tid, id, hash FROM dead WHERE NOT $9::boolean AND (hash, id) > ($7::bigint, $8::bigint) ORDER BY hash, id LIMIT $6::bigint)
	UNION ALL
	(SELECT tid, id, hash FROM dead WHERE $9::boolean AND hash IS NULL AND id > $8::bigint ORDER BY id LIMIT $6::bigint)
)
SELECT count(*), coalesce(array_agg(tid), '{}')::text, coalesce(array_agg(id), '{}')::text,
       (array_agg(hash ORDER BY hash DESC, id DESC))[1], (array_agg(id ORDER BY hash DESC, id DESC))[1]
FROM chunk
