DELETE FROM {only}{table} WHERE {row} = ANY ($1::{row_type}[]){unmoved}
