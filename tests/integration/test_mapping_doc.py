"""docs/MAPPING.md: its tables, its settings, its events; and the documents that come of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import drain, init, publish
from shell import Operator

from harness import Database, Elastic

DOCUMENT = "docs/MAPPING.md"


@pytest.fixture
def op(db: Database, elastic: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> Iterator[Operator]:
    elastic.ensure_running()
    elastic.delete_index("products")
    yield Operator(DOCUMENT, db, elastic, tmp_path, outboxd())
    elastic.delete_index("products")


def documents(op: Operator) -> dict[str, Any]:
    op.elastic.refresh("products")
    return {hit["_id"]: hit["_source"] for hit in op.elastic.search("products", size=100)}


def test_a_table_of_your_own(op: Operator) -> None:
    op.daemon.settings.update(op.settings("own"))
    op.run("own-table")
    assert "ok       mapping" in op.run("own-check")
    op.run("own-event")
    drain(op.daemon)
    assert documents(op) == {"42": {"id": 42, "name": "Brass lamp"}}
    op.db.execute("INSERT INTO outbox (event, data) VALUES ('product_deleted', '{\"id\": 42}')")
    drain(op.daemon)
    assert documents(op) == {}


def test_nested_documents_from_a_view(op: Operator) -> None:
    op.daemon.settings.update(op.settings("nested"))
    op.run("view")
    init(op.daemon)
    op.run("view-event")
    drain(op.daemon)
    assert documents(op) == {"42": {"name": "Brass lamp", "variants": [{"sku": "L-1", "price": 19.9},
                                                                       {"sku": "L-2", "price": 24.9}]}}
    op.db.execute("DELETE FROM products")
    publish(op.db, "products", "42", None)
    drain(op.daemon)
    assert documents(op) == {}


def test_partial_updates(op: Operator) -> None:
    op.daemon.settings.update(op.settings("parts"))
    init(op.daemon)
    op.run("parts-events")
    drain(op.daemon)
    assert documents(op) == {"42": {"name": "Brass lamp", "price": 19.9, "stock": 6}}


def test_read_your_own_writes(op: Operator) -> None:
    op.daemon.settings.update(op.settings("refresh"))
    init(op.daemon)
    op.elastic.call("PUT", "/products", {"settings": {"number_of_replicas": 0, "refresh_interval": "5s"}})
    op.db.execute("SELECT outbox_publish('products', '42', '{\"name\": \"Brass lamp\"}', 'product_renamed')")
    drain(op.daemon)
    assert [hit["_id"] for hit in op.elastic.search("products", size=10)] == ["42"]


def test_a_time_stamp_in_the_document(op: Operator) -> None:
    op.daemon.settings.update(op.settings("stamp"))
    init(op.daemon)
    publish(op.db, "products", "42", {"id": 42})
    drain(op.daemon)
    assert set(documents(op)["42"]) == {"id", "synced_at"}
