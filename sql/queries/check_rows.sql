-- As the claim reads them, but of a document only its first character: that is all row_check looks at.
SELECT ({id})::bigint, ({version})::bigint, ({index})::text, ({document_id})::text, ({operation})::text, ({routing})::text,
       ({pipeline})::text, left(ltrim(({document})::text, E' \t\r\n'), 1), o.processed
FROM {table} o WHERE o.{row} = ANY ($1::{row_type}[]) ORDER BY ({id})
