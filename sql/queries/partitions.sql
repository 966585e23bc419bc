-- The partitions of the outbox by ranges of ids ({partitions}, a sub-select): ids from low to below high. Others, as the DEFAULT one,
-- have no such bounds.
(SELECT c.oid, c.oid::regclass AS name, b.bound[1]::bigint AS low, b.bound[2]::bigint AS high
 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM [(]''?(-?[0-9]+)''?[)] TO [(]''?(-?[0-9]+)''?[)]$') AS b(bound)
 WHERE i.inhparent = {table_literal}::regclass AND b.bound IS NOT NULL)
