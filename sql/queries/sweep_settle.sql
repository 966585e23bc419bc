-- The query $2 was carried out with version $3 in the index $4. No row: somebody else was faster, or it is another one by now.
UPDATE {table} o SET processed = true, processed_at = now(), retry_at = NULL, error = NULL
WHERE ({id}) = $1::bigint AND o.processed = false AND o.dead_at IS NULL
  AND (({document})::text IS NOT DISTINCT FROM $2 AND ({version})::bigint IS NOT DISTINCT FROM $3::bigint
	AND ({index})::text IS NOT DISTINCT FROM $4)
RETURNING 1
