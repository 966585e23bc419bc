-- What there is to do: rows that are to be in the index, and the bytes of their documents (about, from some of them).
SELECT count(*), (count(*) * coalesce((SELECT avg(s.size) FROM (
		SELECT pg_column_size({row_document}) AS size FROM {tracked} t WHERE ({condition}) LIMIT 1000) s), 0))::bigint
FROM {tracked} t WHERE ({condition})
