-- What is older may be looked for among millions of rows: then it is asked again, later. Nor may a row that somebody locks hold up the
-- queries behind this one. Sorts and compiling: as survey_settings.sql.
SELECT set_config('statement_timeout', '30s', true), set_config('lock_timeout', '3s', true),
       set_config('enable_sort', 'off', true), set_config('jit', 'off', true)
