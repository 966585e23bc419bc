-- Refused rows by document, so that a newer delivered event of a document settles its older dead or waiting ones.
CREATE INDEX IF NOT EXISTS {parked_index} ON {table} (hashtextextended(error->>'id', 0))
	WHERE processed = false AND error IS NOT NULL;
