SELECT o.{row}::text FROM {table} o WHERE o.id = $1::bigint
