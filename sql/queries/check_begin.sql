-- `outboxd check` changes nothing, whatever a mapping expression calls; and it never waits long.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '20s'; SET LOCAL lock_timeout = '5s'
