-- Wakes the relays once per statement. Optional: NOTIFY takes a lock of the whole database at commit.
CREATE OR REPLACE FUNCTION {notify}() RETURNS trigger LANGUAGE plpgsql AS $outboxd$
BEGIN
	PERFORM pg_notify({channel_literal}, '');
	RETURN NULL;
END
$outboxd$;
DROP TRIGGER IF EXISTS outboxd_notify ON {table};
CREATE TRIGGER outboxd_notify AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {notify}()
