-- For the transaction of requeue.sql, as requeue_settings.sql, and with a limit: a request must not last.
SELECT set_config('enable_nestloop', 'off', true), set_config('statement_timeout', '60s', true), set_config('lock_timeout', '5s', true)
