-- The statements that drop what tracks the table $1 into the index $2; NULL = nothing does. While they wait for the table, all
-- others wait behind them: not for long.
SELECT 'SET LOCAL lock_timeout = ''200ms''; '
       || string_agg(format('DROP FUNCTION IF EXISTS %s CASCADE', f.oid::regprocedure), '; ' ORDER BY f.oid)
FROM {tracks} f
WHERE f.about->>'table' = $1::text AND f.about->>'index' = $2::text
