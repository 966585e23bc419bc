-- A transaction about a table whose rows are documents. A document must not depend on who asks for it: the triggers set the same.
-- Rows that a policy hides would be taken for deleted ones: better an error.
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex'; SET LOCAL row_security = off; SET LOCAL jit = off; SET LOCAL plan_cache_mode = auto; SET LOCAL lock_timeout = '500ms'
