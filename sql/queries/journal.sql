-- Which migrations an outbox table has seen.
CREATE TABLE IF NOT EXISTS {journal} (
	outbox text NOT NULL,
	number integer NOT NULL,
	name text NOT NULL,
	applied_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (outbox, number)
)
