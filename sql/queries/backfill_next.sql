-- {rows} of backfill_lock.sql: the $2 rows after the key $1, up to the one that was the last when it began ($3).
SELECT t.{row_key} AS key FROM {tracked} t
	WHERE ($1::text IS NULL OR t.{row_key} > $1::text::{key_type}) AND t.{row_key} <= $3::text::{key_type}
	ORDER BY t.{row_key} FETCH FIRST ($2::bigint) ROWS WITH TIES
