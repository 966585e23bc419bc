-- For this transaction only: behind a transaction pooler a session setting would leak to other clients.
-- idle_in_transaction_session_timeout frees the rows of a relay that froze between statements, tcp_user_timeout those
-- of one that froze while it was reading rows. synchronous_commit = off is safe for marks: a lost one is a replay,
-- which changes nothing. transaction_timeout (PostgreSQL 17) would end every claim whose requests take longer, and the same
-- rows would be sent again for ever. Without bitmaps a claim reads its lanes in the order of their index, and the mapping is
-- evaluated for the rows that it takes: with old statistics the planner expects five rows in a lane, sorts instead, and
-- evaluates it for all that wait there. And nothing that a relay does with a batch is worth reading the
-- whole table, or compiling: with a large backlog the estimates are high enough for half a second of that each time.
-- TimeZone and the like: a document must not depend on the role of the relay that sends it; `verify` and the triggers set the same.
SELECT set_config('idle_in_transaction_session_timeout', $1, true),
       set_config('statement_timeout', $1, true),
       set_config('tcp_user_timeout', $1, true),
       set_config('lock_timeout', '10s', true),
       set_config('synchronous_commit', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true),
       set_config('jit', 'off', true), set_config('plan_cache_mode', 'auto', true),
       set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO', true), set_config('IntervalStyle', 'postgres', true),
       set_config('extra_float_digits', '1', true), set_config('bytea_output', 'hex', true),
       CASE WHEN current_setting('transaction_timeout', true) <> '0' THEN set_config('transaction_timeout', '0', true) END
