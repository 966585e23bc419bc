DELETE FROM {table} WHERE ctid = ANY ($1::tid[])
