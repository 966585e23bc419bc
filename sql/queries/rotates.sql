SELECT to_regprocedure({rotate_literal}) IS NOT NULL
