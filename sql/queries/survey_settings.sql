-- A look at the table for the sake of metrics must not last.
SELECT set_config('statement_timeout', '20s', true), set_config('lock_timeout', '1s', true)
