SELECT set_config('outboxd.plan', ($1::int[])::text, true), set_config('outboxd.bounds', ($2::bigint[])::text, true),
       set_config('outboxd.highest', ($3::bigint)::text, true), set_config('outboxd.paused', ($4::text[])::text, true)
