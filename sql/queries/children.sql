-- Rows of other tables would show through this one, and a ctid would name two of them.
SELECT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = {table_literal}::regclass)
