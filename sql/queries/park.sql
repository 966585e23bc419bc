-- Refused rows: dead for good, or waiting for their retry, counted from now: the claim may have begun long ago. One that is carried
-- out by somebody else (delete_by_query) keeps the error that it has.
UPDATE {only}{table} o
SET attempts = o.attempts + p.counted,
    dead_at = CASE WHEN p.wait_ms IS NULL THEN now() END,
    retry_at = statement_timestamp() + p.wait_ms * interval '1 millisecond',
    error = coalesce(p.error, o.error)
FROM jsonb_to_recordset($2::jsonb) AS p(tid {row_type}, counted int, wait_ms bigint, error jsonb)
WHERE o.{row} = ANY ($1::{row_type}[]) AND o.{row} = p.tid
