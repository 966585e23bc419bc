"""docs/VERIFYING.md, typed from its beginning to its end."""

from __future__ import annotations

from pathlib import Path

from conftest import OutboxdFactory
from helpers import drain, init
from shell import Operator

from harness import Database, Elastic

DOCUMENT = "docs/VERIFYING.md"


def test_is_my_index_right(db: Database, elastic: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    elastic.ensure_running()
    elastic.delete_index("products")
    op = Operator(DOCUMENT, db, elastic, tmp_path, outboxd())
    init(op.daemon)
    db.execute("CREATE TABLE products (id bigint PRIMARY KEY, name text, price numeric); "
               "INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(1, 1000) n")
    op.daemon.run("track", "products", "--index", "products")
    assert op.daemon.run("backfill", "products", "--ahead", "2000").exit_code == 0
    drain(op.daemon)

    op.sees("verify")
    op.run("harm")
    op.run("harm-rows")
    op.sees("found")
    op.run("repair")
    drain(op.daemon)
    op.sees("verify")
    elastic.delete_index("products")
