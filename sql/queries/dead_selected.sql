-- Which dead rows o: the condition of every query that takes a selection ({dead_selected}). $1 ids, $2 type, $3 index, $4
-- document id: '{}' or NULL = any. The index of refused rows has them all.
o.processed = false AND o.dead_at IS NOT NULL
	  AND ($1::bigint[] = '{}' OR ({id}) = ANY ($1::bigint[]))
	  AND ($2::text IS NULL OR coalesce(o.error->>'type', '') = $2::text)
	  AND ($3::text IS NULL OR o.error->>'index' = $3::text)
	  AND ($4::text IS NULL OR (hashtextextended(o.error->>'id', 0) = hashtextextended($4::text, 0) AND o.error->>'id' = $4::text))
