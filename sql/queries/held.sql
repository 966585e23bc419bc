-- {held} of lanes.sql, once other relays were seen to hold lanes of a backlog: the lanes that somebody holds. To look for rows of such
-- a lane, and then not to get its lock, can take as long as to look through all that was marked of it; this takes 60 us. Where nobody
-- else is, the view alone would make the parsing of each claim longer by nearly as much, so it is in a text of its own. OFFSET: once.
SELECT ARRAY(SELECT l.objid::bigint::int FROM pg_locks l
	WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.objid <= 15 AND l.classid = ({lane_class})::oid
	  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS lanes OFFSET 0
