-- {writers} of claim.sql: are all of the transactions $4 open at this very snapshot? Where there are none, as if they were.
SELECT coalesce(bool_and(NOT pg_visible_in_snapshot(writer::text::xid8, (SELECT pg_current_snapshot()))), true) AS open
FROM unnest($4::bigint[]) AS writer
