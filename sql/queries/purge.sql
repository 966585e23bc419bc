-- Deletes delivered rows that are old enough, among the next few rows by id. One row: how many were deleted, the
-- last id looked at (NULL = the end of the table), and whether a delivered row was too young: ids and times grow
-- together, so nothing further on can be old.
WITH look AS (
	SELECT o.ctid AS tid, ({id})::bigint AS id, o.processed,
	       o.processed_at < now() - $1::bigint * interval '1 millisecond' AS old
	FROM {table} o WHERE ({id}) > $2::bigint ORDER BY ({id}) LIMIT $3::bigint),
gone AS (
	DELETE FROM {table} WHERE ctid = ANY (ARRAY (SELECT tid FROM look WHERE processed AND old)) RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT max(id) FROM look), EXISTS (SELECT FROM look WHERE processed AND NOT old)
