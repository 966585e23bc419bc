SELECT set_config('outboxd.plan', ($1::int[])::text, true),
       set_config('outboxd.bounds', (CASE WHEN current_setting('outboxd.all_open')::boolean THEN $5::bigint[] ELSE $2::bigint[] END)::text, true),
       set_config('outboxd.highest', ($3::bigint)::text, true), set_config('outboxd.paused', ($4::text[])::text, true)
