INSERT INTO {table} (id, aggregatetype, aggregateid, type, payload) VALUES (gen_random_uuid(), $1, $2, 'outboxd_probe', $3)
RETURNING {row}::text
