-- Also where session_replication_role is replica: while a subscription applies.
ALTER TABLE {on} ENABLE ALWAYS TRIGGER "{trigger}_row", ENABLE ALWAYS TRIGGER "{trigger}_truncate"
