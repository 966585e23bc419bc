-- The child table $1 with the column $2 that names the parent; $3 = the number of it, $4 = {name}, $5 = {tracked}.
SELECT CASE
	WHEN $2 = '' THEN format('--touches %s: write TABLE.COLUMN, the column that names the parent', $1)
	WHEN c.oid IS NULL THEN format('there is no table %s (--touches)', $1)
	WHEN c.oid = o.oid THEN format('%s is the outbox itself (--touches)', c.oid::regclass)
	WHEN c.relkind NOT IN ('r', 'p') OR c.relispartition THEN format('%s is no table of its own (--touches)', c.oid::regclass)
	WHEN a.attname IS NULL THEN format('%s has no column "%s" (--touches)', c.oid::regclass, $2)
	END AS problem,
	c.relkind = 'p' AS partitioned, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS child, quote_ident(a.attname) AS child_column,
	format('%s.%I', o.relnamespace::regnamespace, $4 || '_touch' || $3) AS touch_function,
	$4 || '_touch' || $3 AS trigger,
	EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid = to_regclass($5)
	        AND NOT f.condeferrable AND a.attnum = ANY (f.conkey)) AS has_key
FROM pg_class o
LEFT JOIN pg_class c ON c.oid = to_regclass($1)
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped
WHERE o.oid = {table_literal}::regclass
