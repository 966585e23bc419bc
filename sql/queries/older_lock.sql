-- Before supersede.sql: a row that somebody is just giving back has another ctid when he is done, and would be missed there.
-- In a statement of its own, so that the next one sees what was waited for.
{older} FOR UPDATE OF r
