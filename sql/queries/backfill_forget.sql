-- What was finished, meant other documents than $1, or is to begin anew ($2), is not gone on with.
DELETE FROM {backfills} WHERE source = {tracked_literal} AND index = {index_literal}
	AND (finished_at IS NOT NULL OR documents <> $1 OR $2::boolean)
