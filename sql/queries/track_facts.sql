-- What `outboxd track` must know of a table: one row, whose columns are put into the other track_*.sql by their names.
-- $1 table, $2 index, $3 key, $4 view, $5 columns, $6 condition, $7 touches, $8 what TRUNCATE does, $9 "true" = always;
-- NULL = not given. `problem` is NULL when all is well. Every name has its schema: a temporary table must not catch events.
WITH asked AS (
	SELECT to_regclass($1) AS rel, $2::text AS index_name, $3::text AS key_name, to_regclass($4) AS view,
	       $6::text AS condition, {table_literal}::regclass AS outbox,
	       (SELECT array_agg(trim(word)) FROM unnest(string_to_array($5, ',')) AS word) AS columns
), target AS (
	SELECT asked.*, c.relkind, c.relispartition, n.nspname, c.relname, o.relnamespace::regnamespace AS home,
	       concat_ws('_', o.relname, 'track', CASE WHEN c.relnamespace <> o.relnamespace THEN n.nspname END, c.relname,
	                 asked.index_name) AS long_name
	FROM asked
	JOIN pg_class o ON o.oid = asked.outbox
	LEFT JOIN pg_class c ON c.oid = asked.rel
	LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
), keyed AS (
	SELECT target.*, a.attname AS key, a.attnum AS key_number, a.attnotnull AS key_not_null, a.atttypid AS key_type_oid, format_type(a.atttypid, a.atttypmod) AS key_type,
	       left(regexp_replace(lower(long_name), '[^a-z0-9_]', '_', 'g'), 36) || '_'
	       || left(md5(concat_ws(chr(1), nspname, relname, index_name)), 8) AS name
	FROM target
	LEFT JOIN pg_attribute a ON a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped
		AND CASE WHEN key_name IS NOT NULL THEN a.attname = key_name
		    ELSE EXISTS (SELECT FROM pg_index i WHERE i.indrelid = rel AND i.indisprimary AND i.indnkeyatts = 1
		                 AND a.attnum = i.indkey[0]) END
), shown AS (
	SELECT keyed.*, count(v.attname) = 1 AS has_document
	FROM keyed
	LEFT JOIN pg_attribute v ON v.attrelid = view AND v.attname = 'document' AND v.atttypid IN ('json'::regtype, 'jsonb'::regtype)
	GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
)
SELECT CASE
	WHEN rel IS NULL THEN format('there is no table %s', $1)
	WHEN rel = outbox THEN format('%s is the outbox itself', rel)
	WHEN relkind NOT IN ('r', 'p') THEN
		format('%s is no table; a view can be the document (--document) of the table that it shows', rel)
	WHEN relispartition THEN format('%s is a partition: track its parent', rel)
	WHEN relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = rel) THEN
		format('other tables inherit from %s, and triggers do not follow: track each of them', rel)
	WHEN key IS NULL AND key_name IS NULL THEN
		format('%s has no primary key of one column: name a unique column (--key)', rel)
	WHEN key IS NULL THEN format('%s has no column "%s" (--key)', rel, key_name)
	WHEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = rel AND i.indisunique AND i.indimmediate AND i.indisvalid
		AND i.indpred IS NULL
		AND (i.indkey[0] = key_number AND i.indnkeyatts = 1 OR relkind = 'p' AND key_number = ANY (i.indkey))) THEN
		format('nothing keeps "%s" of %s unique at once, so two rows could be one document: make a unique index', key, rel)
	WHEN NOT key_not_null THEN format('"%s" of %s may be NULL, and then its row has no id: make it NOT NULL', key, rel)
	WHEN key_type_oid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'timetz'::regtype, 'interval'::regtype,
	                      'money'::regtype) THEN
		format('"%s" of %s is a %s, which sessions print differently: it is no id of a document', key, rel, key_type)
	WHEN (SELECT w.relkind FROM pg_class w WHERE w.oid = view) = 'm' THEN
		format('%s is a materialized view: its documents would be those of its last refresh', view)
	WHEN $4 IS NOT NULL AND view IS NULL THEN format('there is no view %s (--document)', $4)
	WHEN view IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = view AND a.attname = key) THEN
		format('%s has no column "%s", by which the document of a row is found', view, key)
	WHEN EXISTS (SELECT FROM unnest(columns) AS c WHERE c NOT IN (SELECT a.attname FROM pg_attribute a
		WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped)) THEN
		format('%s has no column "%s" (--columns)', rel, (SELECT min(c) FROM unnest(columns) AS c WHERE c NOT IN
			(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped)))
	WHEN octet_length(index_name) NOT BETWEEN 1 AND 255 OR index_name <> lower(index_name) OR index_name ~ '[ "*\\<|,>/?#]' THEN
		format('Elasticsearch takes no index of the name "%s" (--index)', index_name)
	END AS problem,
	relkind = 'p' AS partitioned, quote_ident(nspname) || '.' || quote_ident(relname) AS tracked, name, name AS trigger, home,
	(SELECT format('%s.%I', home, o.relname) FROM pg_class o WHERE o.oid = outbox) AS outbox,
	(SELECT format('%s.%I', home, o.relname || '_backfill') FROM pg_class o WHERE o.oid = outbox) AS backfills,
	quote_literal(quote_ident(nspname) || '.' || quote_ident(relname)) AS tracked_literal,
	format('%s.%I', home, name) AS function, quote_literal(index_name) AS index_literal, index_name, key AS key_name, quote_ident(key) AS row_key, key_type,
	(SELECT string_agg(format('%I', s), ', ') FROM unnest(current_schemas(false) || 'pg_temp'::name) AS s) AS search_path,
	quote_literal(json_build_object('outboxd', 'track', 'outbox', (SELECT o.relname FROM pg_class o WHERE o.oid = outbox), 'table', quote_ident(nspname) || '.' || quote_ident(relname), 'index', index_name, 'key', key,
		'document', $4::text, 'columns', $5::text, 'when', $6::text, 'touches', $7::text, 'truncate', $8::text, 'always', $9::text)) AS about,
	coalesce(condition, 'true') AS condition,
	(SELECT string_agg(s, ', ') FROM unnest(current_schemas(false)) AS s
	 WHERE has_schema_privilege('public', s, 'CREATE')) AS open_schemas,
	-- The document of the row t, and what of the old and new row decides whether it changed.
	CASE WHEN view IS NOT NULL THEN format('(SELECT to_jsonb(%s) FROM %s v WHERE v.%s = t.%s LIMIT 1)',
			CASE WHEN has_document THEN 'v.document' ELSE 'v.*' END,
			(SELECT format('%I.%I', vn.nspname, w.relname) FROM pg_class w
			 JOIN pg_namespace vn ON vn.oid = w.relnamespace WHERE w.oid = view), quote_ident(key), quote_ident(key))
	     WHEN columns IS NULL THEN 'to_jsonb(t.*)'
	     ELSE (SELECT 'jsonb_build_object(' || string_agg(format('%L, t.%s', c, quote_ident(c)), ', ' ORDER BY c) || ')'
	           FROM (SELECT unnest(columns) AS c UNION SELECT key) AS each) END AS row_document,
	CASE WHEN columns IS NULL THEN 'outboxd_old.*' ELSE (SELECT 'ROW(' || string_agg('outboxd_old.' || quote_ident(c), ', ' ORDER BY c)
		|| ')::record' FROM unnest(columns) AS c) END AS before,
	CASE WHEN columns IS NULL THEN 'outboxd_new.*' ELSE (SELECT 'ROW(' || string_agg('outboxd_new.' || quote_ident(c), ', ' ORDER BY c)
		|| ')::record' FROM unnest(columns) AS c) END AS after
FROM shown
