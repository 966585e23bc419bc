"""docs/TRACKING.md, typed from its beginning to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import OutboxdFactory
from helpers import drain
from shell import Operator

from harness import Database, Elastic

DOCUMENT = "docs/TRACKING.md"


def test_an_application_that_you_cannot_change(db: Database, elastic: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    elastic.ensure_running()
    elastic.delete_index("products")
    op = Operator(DOCUMENT, db, elastic, tmp_path, outboxd())

    def found() -> dict[str, Any]:
        drain(op.daemon)
        elastic.refresh("products")
        return {hit["_id"]: hit["_source"] for hit in elastic.search("products", size=100)}

    op.run("tables")
    db.execute("INSERT INTO products VALUES (1, 'Old clock', 5)")
    op.sees("track")
    db.execute("INSERT INTO products VALUES (42, 'Brass lamp', 19.90)")
    assert found() == {"42": {"id": 42, "name": "Brass lamp", "price": 19.9, "on_sale": True}}

    op.run("view")
    op.run("nested")
    db.execute("INSERT INTO variants VALUES ('L-1', 42, 24.90)")
    lamp = {"name": "Brass lamp", "price": 19.9, "variants": [{"sku": "L-1", "price": 24.9}]}
    assert found() == {"42": lamp}
    op.sees("backfill")
    assert found() == {"1": {"name": "Old clock", "price": 5, "variants": []}, "42": lamp}
    op.sees("list")

    op.run("remove")
    db.execute("DELETE FROM products")
    assert set(found()) == {"1", "42"}
    elastic.delete_index("products")
