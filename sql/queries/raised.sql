SELECT current_setting('outboxd.raised_to')::bigint AS raised_to, current_setting('outboxd.renumbered')::bigint AS renumbered
