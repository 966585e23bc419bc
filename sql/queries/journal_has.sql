SELECT EXISTS (SELECT FROM {journal} WHERE outbox = {table_literal} AND number = $1::int)
