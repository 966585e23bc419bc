SELECT {shape} WHERE to_regclass({table_literal}) IS NOT NULL
