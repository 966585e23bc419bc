SELECT current_setting('server_version'), pg_is_in_recovery(),
       current_setting('transaction_read_only')::boolean, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, current_user
