-- Another table than $1 (NULL = any) whose events go to one of the indexes $2 and $3, too; none: no row.
SELECT f.about->>'table', f.about->>'index' FROM {tracks} f
WHERE f.about->>'index' IN ($2::text, $3::text) AND ($1::text IS NULL OR f.about->>'table' <> $1::text)
ORDER BY 1, 2 LIMIT 1
