#!/usr/bin/env bash
# Waits until a search finds every product that the shop committed, and shows one.
set -euo pipefail
index=http://elasticsearch:9200/products

count() { # as a search sees it
	curl -s "$index/_count" | sed -n 's/.*"count":\([0-9]*\).*/\1/p'
}

found=
for _ in {1..120}; do
	found=$(count || true) # also while it restarts
	[ "${found:-0}" -ge "$PRODUCTS" ] && break
	sleep 1
done
echo "$PRODUCTS products committed, ${found:-0} found in Elasticsearch. The last of them:"
curl -s "$index/_doc/$PRODUCTS?_source_includes=id,name,price"
echo
[ "${found:-0}" -ge "$PRODUCTS" ]
