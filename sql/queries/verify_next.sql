-- The $2 rows after the key $1 (of $3 in 10,000 of all keys), as they are to be in the index. One row: how many, the last
-- key, the keys, a print of each document (NULL = none is to be there), what to ask Elasticsearch, how many documents and
-- about how many bytes. The fields $4 do not count. What has no id can be in no index.
WITH next AS MATERIALIZED (
	SELECT t.{row_key} AS ordered, t.{row_key}::text AS key, CASE WHEN ({condition}) THEN {row_document} END AS document
	FROM {tracked} t
	WHERE ($1::text IS NULL OR t.{row_key} > $1::text::{key_type})
	  AND ($3::int >= 10000 OR (hashtext(t.{row_key}::text) & 2147483647) % 10000 < $3::int)
	ORDER BY t.{row_key} FETCH FIRST ($2::bigint) ROWS WITH TIES
), mapped AS (
	SELECT r.ordered, r.key, ({index})::text AS index, ({document_id})::text AS id, ({routing})::text AS routing, {wanted} AS document
	FROM next r {mapped}
), asked AS (
	SELECT * FROM mapped WHERE index <> '' AND id <> ''
)
SELECT (SELECT count(*) FROM next), (SELECT key FROM next ORDER BY ordered DESC LIMIT 1),
       coalesce(array_agg(key ORDER BY ordered), '{}')::text,
       coalesce(array_agg(md5((document - $4::text[])::text) ORDER BY ordered), '{}')::text,
       jsonb_build_object('docs', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
		'_index', index, '_id', id, 'routing', routing)) ORDER BY ordered))::text,
       count(document), coalesce(sum(pg_column_size(document)), 0), count(*)
FROM asked
