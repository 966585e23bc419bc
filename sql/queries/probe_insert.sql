INSERT INTO {table} (aggregate_type, aggregate_id, data) VALUES ($1, $2, $3) RETURNING {row}::text
