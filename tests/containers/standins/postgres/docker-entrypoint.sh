#!/bin/bash
# As the official one: makes the database from POSTGRES_* with a server that listens on the unix socket only, then becomes
# the server; any other command is run as it is.
set -euo pipefail
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
[ "${1:-}" = postgres ] || exec "$@"

export PGDATA=/var/lib/postgresql/data
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }

install -d -o postgres -g postgres -m 2775 /var/run/postgresql
if [ ! -e "$PGDATA/PG_VERSION" ]; then
	install -d -o postgres -g postgres -m 700 "$PGDATA"
	install -o postgres -m 600 /dev/stdin /tmp/password <<<"${POSTGRES_PASSWORD:?}"
	as_postgres initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 >/dev/null
	rm /tmp/password
	echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
	as_postgres pg_ctl --wait --log=/dev/null --options="-c listen_addresses=''" start >/dev/null
	createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
	as_postgres pg_ctl --wait --mode=fast stop >/dev/null
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@" -c listen_addresses='*'
