-- The functions by which this outbox tracks tables, with what they say of themselves ({tracks}, a sub-select).
(SELECT p.oid, p.proname, d.about
 FROM pg_class o
 JOIN pg_proc p ON p.pronamespace = o.relnamespace
 CROSS JOIN LATERAL (SELECT obj_description(p.oid, 'pg_proc') AS text) c
 CROSS JOIN LATERAL (SELECT CASE WHEN c.text LIKE '{"outboxd" : "track"%' THEN c.text::jsonb END AS about) d
 WHERE o.oid = {table_literal}::regclass AND d.about->>'outbox' = o.relname)
