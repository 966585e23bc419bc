#!/usr/bin/env bash
# Installs what building, the demo or the tests need on Debian 12 or 13, or Ubuntu 24.04 (untried).
#
#   tests/setup/install.sh build|demo|test|systemd|containers
#
# Each profile contains the one before it. Does nothing, and asks nothing of the network, when all is there.
set -euo pipefail

# "a|b" means: any of these will do; if none is installed, take the first that the release has.
# curl: README and the runbook type it. CPack makes the packages with dpkg-dev and file.
build=(gcc cmake ninja-build pkg-config libpq-dev libcurl4-openssl-dev libjansson-dev libev-dev libmicrohttpd-dev zlib1g-dev
	uthash-dev python3 curl dpkg-dev file)
demo=("${build[@]}" postgresql maven 'openjdk-21-jre-headless|openjdk-17-jre-headless|default-jre-headless'
	python3-psycopg)
test=("${demo[@]}" 'clang-19|clang' 'libclang-rt-19-dev|libclang-rt-dev' 'clang-format-19|clang-format'
	'clang-tidy-19|clang-tidy' cppcheck binutils libcmocka-dev python3-pytest python3-pytest-xdist spin valgrind
	'nginx-light|nginx' pgbouncer git 'chromium|chromium-browser' 'chromium-driver|chromium-chromedriver' python3-selenium prometheus
	python3-yaml)
systemd=("${test[@]}" podman runc debootstrap lintian) # tests/systemd/run, tests/packages/run, tests/bare/run
containers=("${systemd[@]}" buildah netavark aardvark-dns iptables docker-compose python3-venv) # tests/containers/run

say() { printf 'install: %s\n' "$*"; }

die() {
	printf 'install: %s\n' "$*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

any_installed() {
	local name
	for name in "$@"; do
		installed "$name" && return
	done
	return 1
}

available() {
	grep -q '^  Candidate: [^(]' <<<"$(apt-cache policy "$1")"
}

first_available() {
	local name
	for name in "$@"; do
		available "$name" && printf '%s\n' "$name" && return
	done
	die "no package for: $*"
}

# We need the programs of PostgreSQL, nginx, pgbouncer and Prometheus, never their services: tests start their own
# servers in scratch folders. These two files keep the packages from creating a cluster and from starting anything; both are gone again
# when this script ends. A file that somebody else put there is respected and left alone.
no_cluster=/etc/postgresql-common/createcluster.d/outboxd.conf
no_services=/usr/sbin/policy-rc.d
made=()

drop_into() { # path mode content
	[ -e "$1" ] && return
	as_root install -D -m "$2" /dev/stdin "$1" <<<"$3"
	made+=("$1")
}

restore() {
	[ ${#made[@]} -eq 0 ] || as_root rm -f "${made[@]}"
}

apt_get() { # says nothing unless it fails
	local output
	output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends "$@" 2>&1) ||
		die "apt-get $1 failed:"$'\n'"$output"
}

install_packages() {
	trap restore EXIT
	drop_into "$no_cluster" 644 'create_main_cluster = false'
	drop_into "$no_services" 755 $'#!/bin/sh\nexit 101'
	apt_get install "$@"
	# These have just come, so nobody counts on their services: none may take a port at the next boot.
	local service
	for service in nginx prometheus; do
		if [[ " $* " == *" $service"* ]] && command -v systemctl >/dev/null; then
			as_root systemctl --quiet disable "$service.service"
		fi
	done
}

profile=${1:-}
case "$profile" in
build) wanted=("${build[@]}") ;;
demo) wanted=("${demo[@]}") ;;
test) wanted=("${test[@]}") ;;
systemd) wanted=("${systemd[@]}") ;;
containers) wanted=("${containers[@]}") ;;
*) die "usage: $0 build|demo|test|systemd|containers" ;;
esac
command -v apt-get >/dev/null || die 'this script knows apt-get only; install by hand: '"${wanted[*]}"

missing=()
for choice in "${wanted[@]}"; do
	IFS='|' read -ra names <<<"$choice"
	any_installed "${names[@]}" || missing+=("$choice")
done
if [ ${#missing[@]} -eq 0 ]; then
	say "$profile: nothing to do"
	exit
fi

say "$profile: refreshing the package lists"
apt_get update
packages=()
for choice in "${missing[@]}"; do
	IFS='|' read -ra names <<<"$choice"
	packages+=("$(first_available "${names[@]}")")
done
say "$profile: installing ${packages[*]}"
install_packages "${packages[@]}"
say "$profile: done"
