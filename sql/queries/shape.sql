-- What kind of table the outbox is ({shape}): 'plain', or 'partitioned' by its ids, so that an id names one row (a ctid names one in
-- each partition), else why outboxd cannot use it; NULL = there is none. Rows of children would show through a plain table.
(SELECT CASE
	WHEN t.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = t.oid) THEN 'plain'
	WHEN t.relkind = 'r' THEN 'it has children: other tables inherit from it'
	WHEN t.relkind <> 'p' THEN format('it is not an ordinary table (kind ''%s'' in pg_class)', t.relkind)
	WHEN EXISTS (SELECT FROM pg_index x JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]
		WHERE x.indrelid = t.oid AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indnkeyatts = 1
		  AND a.attname = {id_column_literal}) THEN 'partitioned'
	ELSE 'it is partitioned, and no unique index has its ids alone: partition it by the column of outbox.id' END
 FROM pg_class t WHERE t.oid = to_regclass({table_literal}))
