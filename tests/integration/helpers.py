"""What the integration tests say often."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from psycopg.types.json import Jsonb

from harness import Completed, Database, Elastic, Outboxd


USERS = {"admin": ("admin-secret", "superuser"), "relay": ("relay-secret", "relay")}


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


def undelivered(db: Database, table: str = "outbox") -> int:
    """How many rows the first thing that an operator types shows."""
    return int(db.value(f"SELECT count(*) FROM {table} WHERE processed = false"))


def dead(db: Database) -> Mapping[int, dict[str, Any]]:
    """The errors of dead events by their ids."""
    return dict(db.execute("SELECT id, error FROM outbox WHERE processed = false AND dead_at IS NOT NULL "
                           "ORDER BY id"))


def psql(db: Database, text: str) -> None:
    """Runs a script as an operator would, up to its first error, which fails the test."""
    program = db.server.programs / "psql"
    done = subprocess.run([program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", db.dsn], input=text, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr


def dump(db: Database, *flags: str) -> str:
    """All that pg_dump sees: every definition, every row."""
    program = db.server.programs / "pg_dump"
    done = subprocess.run([program, "--inserts", *flags, "-d", db.dsn], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    # Its newer versions write a random word there.
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)
