-- {unmoved} of a partitioned table: not a row that conflicts.sql or hold.sql has made wait in this very transaction, whose time now() is.
-- Where rows go by their ctid such a one has moved.
 AND (retry_at IS NULL OR retry_at <= now())