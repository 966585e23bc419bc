-- The events of the rows with the keys $1, in key order. One row: how many, their first and last id, their bytes (about).
WITH added AS (
	INSERT INTO {outbox} AS o (event, aggregate_type, aggregate_id, data)
	SELECT 'backfill', {index_literal}, d.id, d.document
	FROM (SELECT t.{row_key}::text AS id, {row_document} AS document FROM {tracked} t
	      WHERE t.{row_key} = ANY ($1::text[]::{key_type}[]) AND ({condition}) ORDER BY t.{row_key} OFFSET 0) d
	WHERE d.document IS NOT NULL
	RETURNING ({id})::bigint AS id, pg_column_size(o.data) AS size
)
SELECT count(*), min(id), max(id), sum(size) FROM added
