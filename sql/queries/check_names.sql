SELECT o.ctid::text, ({id})::text FROM {table} o WHERE o.ctid = ANY ($1::tid[]) ORDER BY ({id}) DESC
