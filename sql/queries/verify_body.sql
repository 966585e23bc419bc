-- What to ask Elasticsearch about the keys $1, in their order.
SELECT jsonb_build_object('docs', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
	'_index', ({index})::text, '_id', ({document_id})::text, 'routing', ({routing})::text)) ORDER BY r.n))::text
FROM (SELECT k.key, k.n, t.document
      FROM unnest($1::text[]) WITH ORDINALITY k(key, n)
      {row_of_key}) r {mapped}
