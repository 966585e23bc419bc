SELECT o.ctid::text FROM {table} o WHERE o.id = $1::bigint
