-- A newer full document was accepted: what is left of older refused events of it must never be sent again. hold.sql has
-- locked them.
UPDATE {only}{table} t
SET processed = true, processed_at = now(), error = t.error || jsonb_build_object('superseded_by', old.event)
FROM ({older}) old
WHERE t.{row} = old.tid AND t.processed = false AND t.error IS NOT NULL
