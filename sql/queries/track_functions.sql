-- The functions that track the table $1 into the index $2 (NULL = into any), with those of its children.
SELECT p.oid::regprocedure
FROM pg_class o
JOIN pg_proc p ON p.pronamespace = o.relnamespace
CROSS JOIN LATERAL (SELECT obj_description(p.oid, 'pg_proc') AS text) c
CROSS JOIN LATERAL (SELECT CASE WHEN c.text LIKE '{"outboxd" : "track"%' THEN c.text::jsonb END AS about) d
WHERE o.oid = {table_literal}::regclass AND d.about->>'outbox' = o.relname
  AND (d.about->>'table' = $1 OR d.about->>'table' = (SELECT format('%I.%I', n.nspname, r.relname)
	FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = to_regclass($1)))
  AND ($2::text IS NULL OR d.about->>'index' = $2)
ORDER BY p.proname
