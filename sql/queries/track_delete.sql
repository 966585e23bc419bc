-- BEFORE TRUNCATE, so the rows are still there.
	ELSE
		INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
		SELECT 'truncate', {index_literal}, t.{row_key}::text, NULL FROM {tracked} t WHERE {condition} ORDER BY t.{row_key};
