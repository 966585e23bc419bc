-- CACHE above 1 hands out blocks of ids to sessions: a later event could carry a smaller id than an earlier one.
SELECT s.seqrelid::regclass::text, s.seqcache
FROM pg_sequence s
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {table_literal}::regclass AND s.seqcache > 1
