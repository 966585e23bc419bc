-- The statements that switch off the triggers by which the table $1 is tracked into the index $2; NULL = there are
-- none. That wants no stronger lock than reindex_hold.sql has, while dropping them would have to wait for whoever reads.
-- Partitions have the row triggers of their parent but not those of statements, and PostgreSQL before 13.8 and 14.5 would look for them.
SELECT string_agg(format('ALTER TABLE %s%s DISABLE TRIGGER %I', CASE WHEN t.tgtype & 1 = 0 THEN 'ONLY ' END, t.tgrelid::regclass, t.tgname),
                  '; ' ORDER BY t.oid)
FROM {tracks} f JOIN pg_trigger t ON t.tgfoid = f.oid AND t.tgparentid = 0
WHERE f.about->>'table' = $1::text AND f.about->>'index' = $2::text
