-- A query of its own: the mapping may be what the event died of.
SELECT ({document})::text FROM {table} o WHERE o.processed = false AND ({id}) = ANY ($1::bigint[]) LIMIT 1
