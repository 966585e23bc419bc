DELETE FROM {table} o
WHERE ({id}) = $1::bigint AND o.processed = false AND o.dead_at IS NULL
  AND (({document})::text IS NOT DISTINCT FROM $2 AND ({version})::bigint IS NOT DISTINCT FROM $3::bigint
	AND ({index})::text IS NOT DISTINCT FROM $4)
RETURNING 1
