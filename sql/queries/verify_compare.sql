-- Which of the keys $1 with the prints $2 are to be looked at closely, as Elasticsearch answers $3 about them; fields $4 do
-- not count. One row for each, with why it could not be read (NULL = it could).
SELECT f.key, CASE WHEN f.error IS DISTINCT FROM 'index_not_found_exception' THEN f.error END
FROM (
	SELECT k.key, k.print, CASE WHEN d.doc IS NULL THEN 'no answer' ELSE d.doc->'error'->>'type' END AS error,
	       CASE WHEN (d.doc->>'found')::boolean AND NOT {tombstone} THEN md5(((d.doc->'_source') - $4::text[])::text) END AS there
	FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k(key, print, n)
	LEFT JOIN jsonb_array_elements($3::jsonb->'docs') WITH ORDINALITY d(doc, n) USING (n)
) f
WHERE f.print IS DISTINCT FROM f.there OR coalesce(f.error, 'index_not_found_exception') <> 'index_not_found_exception'
