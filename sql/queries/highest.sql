SELECT coalesce(max(({id})::bigint), 0) FROM {table} o
