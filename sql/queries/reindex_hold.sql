-- The statements that hold off whoever writes the table $1, or children whose changes are events of the indexes $2 and $3; NULL =
-- there are no triggers. The mode is the one in which they are installed, too: it waits for those who have written, and lets read. The
-- first table may be waited for longer than deadlock_timeout, or an autovacuum would never give way. What is waited for while
-- writers wait for us is given up sooner: PostgreSQL would find a deadlock then, and could end the writer. A client that freezes
-- loses its session. No plan may read all that was ever delivered, as it could where statistics are old.
SELECT 'SET LOCAL statement_timeout = ''10s''; SET LOCAL idle_in_transaction_session_timeout = ''30s''; SET LOCAL enable_seqscan = off; '
       || 'SET LOCAL lock_timeout = ''3s''; '
       || string_agg(format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE; SET LOCAL lock_timeout = ''500ms''', l.name), '; ' ORDER BY l.name)
FROM (SELECT DISTINCT t.tgrelid::regclass::text AS name
      FROM {tracks} f JOIN pg_trigger t ON t.tgfoid = f.oid AND t.tgparentid = 0
      WHERE f.about->>'table' = $1::text AND f.about->>'index' IN ($2::text, $3::text)) l
