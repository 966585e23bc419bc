-- Events that were refused because of a higher version, which the table has drawn by now: is that version an event of the
-- same document, or a query that deleted it? If not, it stems from ids that went back, and the event was never delivered: it waits. Believed are versions
-- whose row may have been purged: of events that are older than keep ($4, milliseconds) themselves, and those older than every
-- delivered row that is still here.
UPDATE {only}{table} t
SET retry_at = now() + $3::bigint * interval '1 millisecond',
    error = jsonb_build_object('type', 'version_from_the_future', 'status', 409, 'attempt', t.attempts, 'index', c.index,
		'id', c.id, 'reason', format('current version [%s] is no event of this document', c.version))
FROM jsonb_to_recordset($2::jsonb) AS c(tid {row_type}, version bigint, index text, id text)
WHERE t.{row} = ANY ($1::{row_type}[]) AND t.{row} = c.tid
  AND t.created_at > now() - $4::bigint * interval '1 millisecond'
  AND c.version >= coalesce((SELECT min({id}) FROM {table} o WHERE o.processed), 0)
  AND NOT EXISTS (SELECT FROM {table} o
		WHERE ({id}) = c.version AND ({index})::text = c.index
		  AND (({document_id})::text = c.id OR ({operation})::text = 'delete_by_query'))
