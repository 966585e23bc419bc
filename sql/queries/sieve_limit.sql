SELECT set_config('outboxd.limit', $1, true)
