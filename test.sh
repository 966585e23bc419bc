#!/usr/bin/env bash
# All tests, by one command, on a bare Debian 12 or 13 (Ubuntu 24.04 should do, untried): installs what is missing, then format and layers,
# builds with gcc and clang, unit tests (plain, and under AddressSanitizer + UBSan), static analysis, the protocol's model, a short
# fault campaign, and the integration tests: the ASan build against a real PostgreSQL and a real Elasticsearch. Stops at the
# first failure.
#   ./test.sh [pytest arguments for the integration tests]
set -euo pipefail
cd "$(dirname "$0")"

step() { # what, command...
	local what=$1 begin=$SECONDS log
	shift
	log=$(mktemp)
	printf '%-60s' "$what"
	if ! "$@" >"$log" 2>&1; then
		printf 'FAILED after %d s\n' $((SECONDS - begin))
		tail -n 200 "$log"
		rm -f "$log"
		exit 1
	fi
	printf 'ok %4d s\n' $((SECONDS - begin))
	rm -f "$log"
}

build() { # preset
	cmake --preset "$1" && cmake --build --preset "$1"
}

format() {
	local tool
	tool=$(command -v clang-format-19) || { echo "clang-format-19 is missing"; return 1; }
	git ls-files -z --cached --others --exclude-standard '*.c' '*.h' | xargs -0 "$tool" --dry-run -Werror
}

# What is generated from the program's own lists must be what the repository holds.
generated() {
	local shell program=build/dev/src/cmd/outboxd
	diff -u packaging/outboxd.conf <("$program" config sample)
	diff -u docs/CONFIGURATION.md <("$program" config reference)
	diff -u docs/outboxd.8 <("$program" config man)
	diff -u docs/STATE-MACHINES.md <("$program" config fsm)
	diff -u packaging/outboxd@.service <(sed -f packaging/instance.sed packaging/outboxd.service)
	diff -u docs/METRICS.md <("$program" config metrics)
	for shell in bash zsh fish; do diff -u "packaging/outboxd.$shell" <("$program" config "$shell"); done
}

# A choice of tests may leave one of the two runs below without any (exit code 5), but not both.
without_any=0
integration() { # pytest arguments
	/usr/bin/python3 -m pytest -c tests/pytest.ini --durations=10 "$@" tests/integration ||
		{ [ $? -eq 5 ] && without_any=$((without_any + 1)); }
}

tests/setup/install.sh test
step "format" format
step "build with gcc, warnings are errors" build dev
step "generated documents are up to date" generated
step "unit tests, layers, banned functions" ctest --preset dev --output-on-failure
step "build with clang, warnings are errors" build clang
step "unit tests, clang" ctest --preset clang --output-on-failure
step "build with AddressSanitizer and UBSan" build asan
step "unit tests under AddressSanitizer and UBSan" ctest --preset asan --output-on-failure
step "static analysis and hardening" tests/analysis/run
step "model of the protocol: what must hold holds, what must break breaks" tests/model/run
export OUTBOXD_BIN=$PWD/build/asan/src/cmd/outboxd
step "fault campaign: what is planted is found" tests/campaign/run --self-test
step "fault campaign, short form" tests/campaign/run --seconds 120 --seed 12 --relays 3
step "search equals the database, under faults, short form" tests/campaign/capture --seconds 25 --products 2000 --differences 400 --seed 5
step "alert rules and dashboard" tests/rules/run
step "status page in a real Chromium" tests/page/run
step "instructions per event, against the last release" tests/bench/instructions
echo "integration tests: real PostgreSQL, real Elasticsearch, the sanitized daemon"
integration -n 2 --dist loadfile -m "not alone" "$@"
integration -m alone "$@"
[ "$without_any" -lt 2 ] || { echo "test.sh: no integration test is chosen by: $*"; exit 5; }
