-- The outbox table itself. An existing table (bring your own) is left as it is; 0002 adds what it lacks.
CREATE TABLE IF NOT EXISTS {table} (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	event text,
	aggregate_type text NOT NULL,
	aggregate_id text NOT NULL,
	data jsonb,
	created_at timestamptz NOT NULL DEFAULT now(),
	processed boolean NOT NULL DEFAULT false
){partition_by};
