-- May `init --partitioned` make and drop the partitions of this table? Not those of somebody else.
SELECT p.partstrat = 'r' AND (to_regprocedure({rotate_literal}) IS NOT NULL
	OR NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = p.partrelid))
FROM pg_partitioned_table p WHERE p.partrelid = {table_literal}::regclass
