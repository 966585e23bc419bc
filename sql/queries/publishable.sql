-- outbox_publish() writes these columns; a table of another shape has a writer of its own.
SELECT count(*) = 5 FROM pg_attribute a
WHERE a.attrelid = {table_literal}::regclass AND NOT a.attisdropped
  AND a.attname IN ('id', 'event', 'aggregate_type', 'aggregate_id', 'data')
