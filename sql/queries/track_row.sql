-- Row by row: for partitions that are written directly, and for what a subscription applies.
CREATE TRIGGER "{trigger}_row" AFTER INSERT OR UPDATE OR DELETE ON {on} FOR EACH ROW EXECUTE FUNCTION {calls}();
CREATE TRIGGER "{trigger}_truncate" {when_truncated} TRUNCATE ON {on} FOR EACH STATEMENT EXECUTE FUNCTION {calls}()
