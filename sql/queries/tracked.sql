-- What is tracked into this outbox, as the functions themselves say. A table may have gone since.
SELECT d.about->>'table' AS "table", d.about->>'index' AS index, d.about->>'key' AS key,
       coalesce(d.about->>'document', d.about->>'columns', 'the row') AS document, d.about->>'when' AS "when",
       d.about->>'touches' AS touches, d.about->>'truncate' AS truncate,
       CASE WHEN count(t.oid) = 0 THEN 'no trigger left'
            WHEN bool_or(t.tgenabled = 'D') THEN 'disabled'
            WHEN bool_or(t.tgenabled = 'A') THEN 'always'
            ELSE 'on' END AS state
FROM pg_class o
JOIN pg_proc p ON p.pronamespace = o.relnamespace
CROSS JOIN LATERAL (SELECT obj_description(p.oid, 'pg_proc') AS text) c
CROSS JOIN LATERAL (SELECT CASE WHEN c.text LIKE '{"outboxd" : "track"%' THEN c.text::jsonb END AS about) d
LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND t.tgparentid = 0
WHERE o.oid = {table_literal}::regclass AND d.about->>'outbox' = o.relname
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY 1, 2
