-- How many rows the table has, as far as the planner knows; NULL = it does not.
SELECT nullif(sum(c.reltuples), 0)::bigint
FROM pg_class c
WHERE c.relkind = 'r' AND c.oid IN (SELECT relid FROM pg_partition_tree({tracked_literal}) UNION SELECT {tracked_literal}::regclass)
HAVING min(c.reltuples) >= 0
