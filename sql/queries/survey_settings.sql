-- What the relay does beside its deliveries (counts, questions, purges) must not last, nor wait behind a table lock.
SELECT set_config('statement_timeout', '20s', true), set_config('lock_timeout', '1s', true)
