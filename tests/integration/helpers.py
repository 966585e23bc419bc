"""What the integration tests say often."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from psycopg.types.json import Jsonb

from harness import Completed, Database, Elastic, Outboxd


USERS = {"admin": ("admin-secret", "superuser"), "relay": ("relay-secret", "relay")}


# What track, backfill and verify see.
PRODUCTS = "CREATE TABLE products (id bigint PRIMARY KEY, name text, price numeric, on_sale boolean NOT NULL DEFAULT true)"


def secure_node(roles: Mapping[str, Any]) -> Elastic:
    """With security on, USERS, and quick to see that its files have changed."""
    quick = {"resource.reload.interval.high": "200ms", "resource.reload.interval.medium": "200ms"}
    return Elastic(settings=quick, users=USERS, roles=roles, heap="384m")


def init(daemon: Outboxd, *flags: str) -> Completed:
    done = daemon.run("init", *flags)
    assert done.exit_code == 0, done.stderr
    return done


def drain(daemon: Outboxd, expect: int = 0) -> Completed:
    """`--once`, which must end as expected: 0 all delivered, 65 some events went dead."""
    done = daemon.run_once(timeout=15)
    assert done.exit_code == expect, done.stderr[-5000:]
    return done


def publish(db: Database, index: str, document_id: str, document: Any, event: str = "product_updated") -> int:
    """One event of the default table; a document of None is a delete. Returns its id."""
    data = None if document is None else Jsonb(document)
    return int(db.value("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) VALUES (%s, %s, %s, %s) "
                        "RETURNING id", [event, index, document_id, data]))


def publish_many(db: Database, index: str, documents: Iterable[tuple[str, Any]]) -> None:
    with db.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, %s, %s)",
                           [(index, name, Jsonb(document)) for name, document in documents])


def newest(db: Database, index: str = "products") -> dict[str, Any]:
    """What an index holds after all events: for each document its newest one."""
    rows = db.execute("SELECT DISTINCT ON (aggregate_id) aggregate_id, data FROM outbox WHERE aggregate_type = %s "
                      "ORDER BY aggregate_id, id DESC", [index])
    return {id: data for id, data in rows if data is not None}


def table(db: Database, document: str = "to_jsonb(t.*)", rows: str = "products t") -> dict[str, Any]:
    """What it is to hold."""
    return dict(db.execute(f"SELECT id::text, {document} FROM {rows}"))


def undelivered(db: Database, table: str = "outbox") -> int:
    """How many rows the first thing that an operator types shows."""
    return int(db.value(f"SELECT count(*) FROM {table} WHERE processed = false"))


def dead(db: Database) -> Mapping[int, dict[str, Any]]:
    """The errors of dead events by their ids."""
    return dict(db.execute("SELECT id, error FROM outbox WHERE processed = false AND dead_at IS NOT NULL "
                           "ORDER BY id"))


def psql(db: Database, text: str) -> None:
    """Runs a script as an operator would, up to its first error, which fails the test."""
    program = db.server.program("psql")
    done = subprocess.run([program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", db.dsn], input=text, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr


# The catalogues that hold what a user defines, each with the object that a row of it belongs to.
CATALOGUES = {
    "pg_namespace": "oid::regnamespace", "pg_class": "oid::regclass", "pg_attribute": "attrelid::regclass",
    "pg_attrdef": "adrelid::regclass", "pg_constraint": "conrelid::regclass", "pg_index": "indexrelid::regclass",
    "pg_inherits": "inhrelid::regclass", "pg_proc": "oid::regprocedure", "pg_trigger": "tgrelid::regclass",
    "pg_type": "oid::regtype", "pg_sequence": "seqrelid::regclass", "pg_rewrite": "ev_class::regclass",
    "pg_policy": "polrelid::regclass",
}
# What changes without a change of the definition. init makes its trigger anew, with another number.
BY_ITSELF = ("oid", "relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid")


def dump(db: Database, without: str | None = None, rows: bool = True) -> str:
    """Every definition of a database, every row and the state of every sequence; not what is named `without`.

    pg_dump would do as well, but refuses a server that is newer than itself.
    """
    found: list[str] = []
    with db.connect() as connection:
        for catalogue, owner in CATALOGUES.items():
            # What the server itself brings has smaller numbers. Its storage for long values is not ours to compare.
            found += (f"{catalogue} {name}: {text}" for name, text in connection.execute(
                f"SELECT {owner}::text, (to_jsonb(c) - %s::text[])::text FROM {catalogue} c "
                f"WHERE {owner.partition('::')[0]} >= 16384 ORDER BY 1, 2", [list(BY_ITSELF)])
                if not name.startswith("pg_toast.") and (without is None or without not in name))
        found += (f"comment {text}" for (text,) in connection.execute(
            "SELECT pg_describe_object(classoid, objoid, objsubid) || ': ' || description FROM pg_description "
            "WHERE objoid >= 16384 ORDER BY 1"))
        tables = connection.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'S') "
                                    "AND oid >= 16384 ORDER BY 1").fetchall() if rows else []
        for (table,) in tables:
            found += sorted(f"{table}: {row}" for row in connection.execute(f"SELECT * FROM {table}"))
    return "\n".join(found)
