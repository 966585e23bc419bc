-- Refused rows by document, so that a newer delivered event of a document settles its older dead or waiting ones, and an update
-- finds the nearest one that it must not pass. Also rows that somebody gave up by hand, without an error: no other index has
-- them, and nobody would see them.
CREATE INDEX {concurrently} IF NOT EXISTS {parked_index} ON {table} (hashtextextended(error->>'id', 0), ({id_column}))
	WHERE processed = false AND (error IS NOT NULL OR dead_at IS NOT NULL)
