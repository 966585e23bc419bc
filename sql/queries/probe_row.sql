SELECT ({id})::bigint, ({version})::bigint, ({index})::text, ({document_id})::text, ({operation})::text, ({routing})::text,
       ({pipeline})::text, ({document})::text
FROM {table} o WHERE o.{row} = $1::{row_type}
