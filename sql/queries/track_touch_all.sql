-- AFTER TRUNCATE: every parent has lost its children.
outboxd_keys := (SELECT array_agg(t.{row_key}::text) FROM {tracked} t);
