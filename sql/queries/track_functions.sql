-- The functions that track the table $1 into the index $2 (NULL = into any), with those of its children.
SELECT f.oid::regprocedure, f.about->>'table' AS "table", f.about->>'index' AS index, f.about->>'key' AS key,
       f.about->>'document' AS document, f.about->>'columns' AS columns, f.about->>'when' AS "when",
       f.about->>'touches' AS touches, f.about->>'truncate' AS truncate, f.about->>'always' AS always
FROM {tracks} f
WHERE (f.about->>'table' = $1 OR f.about->>'table' = (SELECT format('%I.%I', n.nspname, r.relname)
	FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = to_regclass($1)))
  AND ($2::text IS NULL OR f.about->>'index' = $2)
ORDER BY f.proname
