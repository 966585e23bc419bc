-- Is the table $1 tracked into the index $3 as it is into $2: the same documents, and as many triggers, none of them switched off?
SELECT count(*) > 0
       AND count(*) FILTER (WHERE f.about->>'index' = $3::text AND t.tgenabled IN ('O', 'A')) = count(*) FILTER (WHERE f.about->>'index' = $2::text)
       AND (SELECT count(DISTINCT d.about - 'index') FROM {tracks} d
            WHERE d.about->>'table' = $1::text AND d.about->>'index' IN ($2::text, $3::text)) = 1
FROM {tracks} f JOIN pg_trigger t ON t.tgfoid = f.oid AND t.tgparentid = 0
WHERE f.about->>'table' = $1::text AND f.about->>'index' IN ($2::text, $3::text)
