-- New events of the rows with the keys $1, which are locked, and deletes for keys that have no row.
INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
SELECT 'repair', {index_literal}, k.key, t.document
FROM unnest($1::text[]) k(key)
LEFT JOIN LATERAL (SELECT {row_document} AS document FROM {tracked} t
                   WHERE t.{row_key} = {key_value} AND t.{row_key}::text = k.key AND ({condition}) LIMIT 1) t ON true
ORDER BY k.key
