-- Begins, or finds what was begun. One row: how many rows are done.
INSERT INTO {backfills} AS b (source, index, documents, until)
VALUES ({tracked_literal}, {index_literal}, $1, (SELECT t.{row_key}::text FROM {tracked} t ORDER BY t.{row_key} DESC LIMIT 1))
ON CONFLICT (source, index) DO UPDATE SET documents = excluded.documents
RETURNING b.rows
