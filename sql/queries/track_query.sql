-- All documents of the index that are older than this event. It is a query by what outbox.operation makes of it, which `track` has
-- tried (track_query_facts.sql).
INSERT INTO {outbox} (event, aggregate_type, aggregate_id, data)
		VALUES ('delete_by_query', {index_literal}, '', '{"query": {"match_all": {}}}');
