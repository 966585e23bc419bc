SELECT c.relkind FROM pg_class c WHERE c.oid = to_regclass({table_literal})
