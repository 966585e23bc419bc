-- How far the index $2 is filled from the table $1: no row = it was not begun.
SELECT finished_at IS NOT NULL FROM {backfills} WHERE source = $1::text AND index = $2::text
