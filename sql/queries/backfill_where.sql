-- Where the backfill of the documents $1 stands; no row = another one took its place. The lock makes two runs take turns.
SELECT last, held::text, cardinality(held), finished_at IS NOT NULL, until
FROM {backfills} WHERE source = {tracked_literal} AND index = {index_literal} AND documents = $1 FOR UPDATE
