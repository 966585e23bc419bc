SELECT {publish}($1, $2, $3::jsonb, 'outboxd_probe')
