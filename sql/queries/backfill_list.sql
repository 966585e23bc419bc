SELECT source AS "table", index, rows, events, cardinality(held) AS held,
       to_char(started_at, 'YYYY-MM-DD HH24:MI:SS') AS started, coalesce(to_char(finished_at, 'YYYY-MM-DD HH24:MI:SS'), 'no') AS finished
FROM {backfills} ORDER BY 1, 2
