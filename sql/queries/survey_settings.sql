-- What the relay does beside its deliveries (counts, questions, purges) must not last, nor wait behind a table lock. Without sorts
-- the head of a lane is the first entry of its index: with old statistics the planner expects a handful of rows there, and would
-- sort all that wait. Compiling takes longer than what it is for.
SELECT set_config('statement_timeout', '20s', true), set_config('lock_timeout', '1s', true),
       set_config('enable_sort', 'off', true), set_config('jit', 'off', true)
