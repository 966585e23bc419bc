-- New events of the rows with the keys $1, which are locked, and deletes for keys that have no row.
INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
SELECT 'repair', {index_literal}, k.key, t.document
FROM unnest($1::text[]) k(key)
{row_of_key}
ORDER BY k.key
