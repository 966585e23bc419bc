-- A page of a search, $1: first a row that says how to go on, how many ids it has, how many the search has, and how many shards
-- failed; then one for each id that no row has (of $2 in 10,000 of all).
WITH page AS (SELECT h->>'_id' AS key FROM jsonb_array_elements($1::jsonb->'hits'->'hits') h)
SELECT $1::jsonb->>'_scroll_id', (SELECT count(*) FROM page), ($1::jsonb->'hits'->'total'->>'value')::bigint,
       ($1::jsonb->'_shards'->>'failed')::bigint
UNION ALL
SELECT k.key, NULL, NULL, NULL FROM page k
WHERE ($2::int >= 10000 OR (hashtext(k.key) & 2147483647) % 10000 < $2::int)
  AND NOT EXISTS (SELECT FROM {tracked} t WHERE t.{row_key} = {key_value} AND t.{row_key}::text = k.key)
