-- What the triggers will do with a row: the server must understand it before the application's writes depend on it.
SELECT o.event, o.aggregate_type, o.aggregate_id, o.data, CASE WHEN {condition} THEN {row_document} END
FROM {tracked} t, {outbox} o WHERE t.{row_key} = 'x'::text::{key_type}
