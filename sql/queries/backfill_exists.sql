-- The table of backfills beside the outbox, NULL = none was begun.
SELECT NULL AS problem, to_regclass(format('%s.%I', o.relnamespace::regnamespace, o.relname || '_backfill')) AS backfills
FROM pg_class o WHERE o.oid = {table_literal}::regclass
