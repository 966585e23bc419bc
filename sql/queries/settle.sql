UPDATE {table} SET processed = true, processed_at = now() WHERE ctid = ANY ($1::tid[])
