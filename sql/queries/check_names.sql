SELECT o.{row}::text, ({id})::text FROM {table} o WHERE o.{row} = ANY ($1::{row_type}[]) ORDER BY ({id}) DESC
