-- The row with the key $1 was the last (NULL = as before); the first $2 of those passed over had their turn, and these were
-- passed over now: $3. $4 rows, $5 events. $6 = that was all.
UPDATE {backfills}
SET last = coalesce($1, last), held = held[$2::int + 1:] || $3::text[], rows = rows + $4::bigint, events = events + $5::bigint,
    finished_at = CASE WHEN $6::boolean THEN clock_timestamp() END
WHERE source = {tracked_literal} AND index = {index_literal}
