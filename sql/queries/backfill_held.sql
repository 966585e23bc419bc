-- {rows} of backfill_lock.sql: the first $2 of those that were passed over, $1.
SELECT t.{row_key} AS key FROM {tracked} t WHERE t.{row_key} = ANY (($1::text[])[1:$2::int]::{key_type}[])
