-- What the relay writes. Defaults are constants, so that adding them to a large table rewrites nothing.
ALTER TABLE {table}
	ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
	ADD COLUMN IF NOT EXISTS processed boolean NOT NULL DEFAULT false,
	ADD COLUMN IF NOT EXISTS processed_at timestamptz,
	ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0,
	ADD COLUMN IF NOT EXISTS retry_at timestamptz,
	ADD COLUMN IF NOT EXISTS dead_at timestamptz,
	ADD COLUMN IF NOT EXISTS error jsonb;
COMMENT ON COLUMN {table}.processed IS 'false = not delivered yet; set by outboxd when Elasticsearch has acknowledged the event';
COMMENT ON COLUMN {table}.dead_at IS 'when outboxd gave the event up; see error, and outboxd requeue';
COMMENT ON COLUMN {table}.error IS 'type, reason, HTTP status and attempt of the last refusal';
