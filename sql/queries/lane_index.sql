-- Serves every claim. Dead rows are not in it: however many there are, they cost nothing.
CREATE INDEX {concurrently} IF NOT EXISTS {lane_index} ON {table} ((hashtext(coalesce(({key_column})::text, '')) & 15), ({id_column}))
	WHERE processed = false AND dead_at IS NULL
