#!/usr/bin/env bash
# Replays the incident that outboxd exists for, on a PostgreSQL and an Elasticsearch of its own: products that are
# missing from search for ever after dual writes, and none missing with an outbox. Leaves no process and no data
# behind; packages, the build and the unpacked Elasticsearch stay for the next run.
set -euo pipefail
cd "$(dirname "$0")"

step() { # label command...: one line with the seconds it took; what the command says only when it fails
	local label=$1 began=$SECONDS output
	shift
	printf '%s ... ' "$label"
	output=$("$@" 2>&1) || {
		printf 'failed\n'
		printf '%s\n' "$output" >&2
		exit 1
	}
	printf '%d s\n' $((SECONDS - began))
}

build() { # a folder of its own: the tests need more packages, and switching them off would stick to build/release
	cmake --preset release -B build/demo -DBUILD_TESTING=OFF && cmake --build build/demo --target outboxd
}

step 'packages (minutes on a bare machine, else nothing)' tests/setup/install.sh demo
if [ -z "${OUTBOXD_BIN:-}" ]; then
	step 'building outboxd' build
	export OUTBOXD_BIN=$PWD/build/demo/src/cmd/outboxd
fi
step 'Elasticsearch (fetched by the first run)' tests/setup/elasticsearch.py
exec /usr/bin/python3 tests/demo/demo.py "$@"
