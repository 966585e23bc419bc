-- What is tracked into this outbox. A table may have gone since.
SELECT f.about->>'table' AS "table", f.about->>'index' AS index, f.about->>'key' AS key,
       coalesce(f.about->>'document', f.about->>'columns', 'the row') AS document, f.about->>'when' AS "when",
       f.about->>'touches' AS touches, f.about->>'truncate' AS truncate,
       CASE WHEN count(t.oid) = 0 THEN 'no trigger left'
            WHEN bool_or(t.tgenabled = 'D') THEN 'disabled'
            WHEN bool_or(t.tgenabled = 'A') THEN 'always'
            ELSE 'on' END AS state
FROM {tracks} f
LEFT JOIN pg_trigger t ON t.tgfoid = f.oid AND t.tgparentid = 0
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY 1, 2
