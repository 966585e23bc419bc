-- The outbox table itself. An existing table (bring your own) is left as it is; 0002 adds what it lacks.
-- A row that is kept is written twice, when it comes and when it is delivered: half of a page of the key is left for the second
-- entry, which would have to split it.
CREATE TABLE IF NOT EXISTS {table} (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY WITH (fillfactor = 50),
	event text,
	aggregate_type text NOT NULL,
	aggregate_id text NOT NULL,
	data jsonb,
	created_at timestamptz NOT NULL DEFAULT now(),
	processed boolean NOT NULL DEFAULT false
){partition_by};
