-- What to ask Elasticsearch about the keys $1, in their order.
SELECT jsonb_build_object('docs', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
	'_index', ({index})::text, '_id', ({document_id})::text, 'routing', ({routing})::text)) ORDER BY r.n))::text
FROM (SELECT k.key, k.n, t.document
      FROM unnest($1::text[]) WITH ORDINALITY k(key, n)
      LEFT JOIN LATERAL (SELECT {row_document} AS document FROM {tracked} t
                         WHERE t.{row_key} = {key_value} AND t.{row_key}::text = k.key AND ({condition}) LIMIT 1) t ON true) r {mapped}
