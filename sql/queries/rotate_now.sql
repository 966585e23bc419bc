-- $1 as keep_ms of rotate.sql.
SELECT created, dropped, busy, below FROM {rotate}($1::bigint)
