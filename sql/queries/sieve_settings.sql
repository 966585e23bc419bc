SELECT set_config('outboxd.plan', ($1::int[])::text, true), set_config('outboxd.bounds', ($2::bigint[])::text, true),
       set_config('outboxd.limit', greatest($3::bigint / greatest(cardinality(current_setting('outboxd.lanes')::int[]), 1), 1)::text, true), set_config('outboxd.highest', ($4::bigint)::text, true),
       set_config('outboxd.paused', ($5::text[])::text, true)
