SELECT current_setting('outboxd.sieved')::bigint
