-- The relay's role: what it needs, and nothing else. After `outboxd init`, as the table's owner or a superuser:
--   psql -d shop -f role.sql
-- `outboxd check` as this role says what is missing, for other names of the table too.
CREATE ROLE outboxd LOGIN; -- then \password outboxd, or peer authentication (see libnss-systemd)
GRANT SELECT, DELETE, UPDATE (processed, processed_at, attempts, retry_at, dead_at, error) ON outbox TO outboxd;
GRANT SELECT ON SEQUENCE outbox_id_seq TO outboxd;

-- For a table of `init --partitioned`:
--   GRANT EXECUTE ON FUNCTION outbox_rotate(bigint, bigint) TO outboxd;
-- What expressions of [outbox] read besides the table:
--   GRANT SELECT ON product_documents TO outboxd;
-- `outboxd probe` writes an event of its own:
--   GRANT INSERT ON outbox TO outboxd;
-- `outboxd status` shows what other roles' sessions do while they hold up vacuum:
--   GRANT pg_read_all_stats TO outboxd;
