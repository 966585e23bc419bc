-- BEFORE TRUNCATE the rows are still there; their documents are none any more.
INSERT INTO {outbox} (event, aggregate_type, aggregate_id)
		SELECT 'truncate', {index_literal}, t.{row_key}::text FROM {tracked} t ORDER BY t.{row_key};
