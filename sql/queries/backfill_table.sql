-- Where each backfill stands: the rows are its memory, so that any run of the command goes on where the last one ended.
CREATE TABLE IF NOT EXISTS {backfills} (
	source text, index text,
	documents text NOT NULL, -- what a document is, and of which rows
	until text,              -- the last key when it began: what comes later is live; NULL = there was no row
	last text,               -- it goes on after the row with this key; NULL = at the beginning
	held text[] NOT NULL DEFAULT '{}', -- keys of rows that other transactions held when they were met: their turn comes at the end
	rows bigint NOT NULL DEFAULT 0,
	events bigint NOT NULL DEFAULT 0, -- fewer than rows: some are not to be in the index
	started_at timestamptz NOT NULL DEFAULT now(),
	finished_at timestamptz,
	PRIMARY KEY (source, index))
