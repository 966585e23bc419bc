DELETE FROM {backfills} WHERE source = $1::text AND index = $2::text
