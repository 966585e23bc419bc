-- CREATE INDEX CONCURRENTLY that was interrupted leaves an invalid index behind.
SELECT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = to_regclass({lane_index_literal}) AND NOT i.indisvalid)
