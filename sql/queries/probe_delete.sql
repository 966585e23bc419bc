DELETE FROM {table} o WHERE ({id}) = ANY ($1::bigint[])
