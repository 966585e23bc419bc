-- The highest id that was ever drawn; NULL = nobody knows.
SELECT pg_sequence_last_value(s.seqrelid::regclass) FROM pg_sequence s
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {table_literal}::regclass AND a.attname = {id_column_literal}
  AND has_sequence_privilege(s.seqrelid, 'SELECT')
