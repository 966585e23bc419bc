-- The table of Debezium's outbox event router, made when the preset asks for it and no such table is there.
CREATE TABLE IF NOT EXISTS {table} (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	aggregatetype varchar(255) NOT NULL,
	aggregateid varchar(255) NOT NULL,
	type varchar(255),
	payload jsonb
)
