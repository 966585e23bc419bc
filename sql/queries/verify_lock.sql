-- Locks the rows with the keys $1, before verify_repair.sql reads them: how many.
SELECT count(DISTINCT locked.key) FROM (
	SELECT k.key FROM unnest($1::text[]) k(key) JOIN {tracked} t ON t.{row_key} = {key_value} AND t.{row_key}::text = k.key
	ORDER BY t.{row_key} FOR NO KEY UPDATE OF t SKIP LOCKED) locked
