-- {row_of_key}: the row of the key k.key and the document that is to be there, both NULL when there is none.
LEFT JOIN LATERAL (SELECT t.xmin::text AS state, CASE WHEN ({condition}) THEN {row_document} END AS document FROM {tracked} t
	                   WHERE t.{row_key} = {key_value} AND t.{row_key}::text = k.key LIMIT 1) t ON true
