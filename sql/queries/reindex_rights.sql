-- What the move needs, hours later, besides what `track` and `backfill` have needed by then: to mark events.
SELECT CASE WHEN NOT bool_and(has_column_privilege({table_literal}, c.column_name, 'UPDATE')) THEN
	format('%s may not update %s, so its events could not give way to newer ones', current_user, {table_literal}::regclass) END AS problem
FROM unnest(ARRAY['processed', 'processed_at', 'error']) AS c(column_name)
