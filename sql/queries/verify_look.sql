-- A close look at the keys $1, about which Elasticsearch answers $2; fields $3 do not count. One row for each, in their order:
-- what is wrong (NULL = nothing), the state of the row and its document, the version there, whether an event of the document
-- (or one that deletes by a query) is still to be delivered, why Elasticsearch could not say. Rows and events are of one snapshot.
WITH asked AS (
	SELECT k.key, k.n, t.state, t.document, d.doc->'_source' AS source, d.doc->>'_version' AS version,
	       coalesce((d.doc->>'found')::boolean AND NOT {tombstone}, false) AS found,
	       CASE WHEN d.doc IS NULL THEN 'no answer' ELSE d.doc->'error'->>'type' END AS error
	FROM unnest($1::text[]) WITH ORDINALITY k(key, n)
	LEFT JOIN jsonb_array_elements($2::jsonb->'docs') WITH ORDINALITY d(doc, n) USING (n)
	{row_of_key}
), mapped AS (
	SELECT r.n, r.state, r.source, r.version, r.found, r.error, {wanted} AS document, ({document_id})::text AS id
	FROM asked r {mapped}
), queries AS (
	SELECT FROM {outbox} o WHERE o.processed = false AND o.dead_at IS NULL AND ({operation})::text = 'delete_by_query'
	  AND ({index})::text = {index_literal}
), waiting AS (
	SELECT DISTINCT ({document_id})::text AS id FROM {outbox} o
	WHERE o.processed = false AND o.dead_at IS NULL AND ({document_id})::text = ANY (ARRAY (SELECT id FROM mapped))
)
SELECT CASE WHEN m.document IS NULL THEN CASE WHEN m.found THEN 'extra' END
            WHEN NOT m.found THEN 'missing'
            WHEN (m.document - $3::text[]) IS DISTINCT FROM (m.source - $3::text[]) THEN 'stale' END,
       concat_ws(' ', m.state, md5((m.document - $3::text[])::text)), coalesce(m.version, ''),
       m.id IN (SELECT id FROM waiting) OR EXISTS (SELECT FROM queries),
       CASE WHEN m.error IS DISTINCT FROM 'index_not_found_exception' THEN m.error END
FROM mapped m ORDER BY m.n
