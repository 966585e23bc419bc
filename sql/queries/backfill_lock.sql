-- Locks rows, so that their documents can be read in a statement of its own: what is seen then is the newest, and who changes
-- a row later draws a later id. A row that somebody else holds is passed over ({skip}): to wait for it while holding others
-- is how deadlocks are made. One row: how many there were, the last key, the keys passed over, the keys locked and how many.
WITH next AS MATERIALIZED ({rows}
), locked AS MATERIALIZED (
	SELECT t.{row_key} AS key FROM {tracked} t WHERE t.{row_key} = ANY (ARRAY (SELECT key FROM next))
	ORDER BY t.{row_key} FOR NO KEY UPDATE {skip}
), keys AS ( -- where partitions have one key several times, all of its rows or none
	SELECT n.key, l.rows IS NOT DISTINCT FROM n.rows AS free
	FROM (SELECT key, count(*) AS rows FROM next GROUP BY key) n
	LEFT JOIN (SELECT key, count(*) AS rows FROM locked GROUP BY key) l USING (key)
)
SELECT (SELECT count(*) FROM next), (SELECT key::text FROM next ORDER BY next.key DESC LIMIT 1),
       ARRAY (SELECT key::text FROM keys WHERE NOT free ORDER BY keys.key)::text,
       ARRAY (SELECT key::text FROM keys WHERE free)::text, (SELECT count(*) FROM keys WHERE free)
