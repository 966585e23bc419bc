UPDATE {only}{table} SET processed = true, processed_at = now() WHERE {row} = ANY ($1::{row_type}[]){unmoved}
