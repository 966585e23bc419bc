-- Deletes delivered rows that are old enough, among the next few rows by id. One row: how many were deleted, the
-- last id looked at (NULL = the end of the table), and whether a delivered row was made so lately that it cannot be old: ids and
-- times of creation grow together, so nothing further on can be old either. (Times of delivery do not: a row may have been
-- refused for days.) What is deleted is looked at once more, since somebody may be giving it back.
WITH look AS (
	SELECT o.{row} AS tid, ({id})::bigint AS id, o.processed, o.created_at,
	       o.processed_at < now() - $1::bigint * interval '1 millisecond' AS old
	FROM {table} o WHERE ({id}) > $2::bigint{purge_below} ORDER BY ({id}) LIMIT $3::bigint),
gone AS (
	DELETE FROM {only}{table} o WHERE o.{row} = ANY (ARRAY (SELECT tid FROM look WHERE processed AND old)){purge_below}
	AND o.processed AND o.processed_at < now() - $1::bigint * interval '1 millisecond' RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT max(id) FROM look),
       EXISTS (SELECT FROM look WHERE processed AND NOT old AND created_at BETWEEN now() - $1::bigint * interval '1 millisecond' AND now())
