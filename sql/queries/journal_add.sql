INSERT INTO {journal} (outbox, number, name) VALUES ({table_literal}, $1::int, $2) ON CONFLICT DO NOTHING
