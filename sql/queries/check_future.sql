-- Events that wait because of a version that the table never drew.
SELECT count(*) FROM {table} o WHERE o.processed = false AND o.error->>'type' = 'version_from_the_future'
