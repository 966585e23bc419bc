"""docs/REINDEXING.md, typed from its beginning to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import OutboxdFactory
from documents import blocks
from helpers import init, undelivered
from shell import Operator

from harness import Database, Elastic, wait_until

DOCUMENT = "docs/REINDEXING.md"
INDEXES = ("products", "products-1", "products-2")


@pytest.fixture
def op(db: Database, elastic: Elastic, outboxd: OutboxdFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """1,000 products, and a relay that runs."""
    elastic.ensure_running()
    for index in INDEXES:
        elastic.delete_index(index)
    monkeypatch.chdir(tmp_path)
    operator = Operator(DOCUMENT, db, elastic, tmp_path, outboxd(relay_poll_interval="50ms"))
    init(operator.daemon, "--notify")
    db.execute("CREATE TABLE products (id bigint PRIMARY KEY, name text, price numeric)")
    return operator


def stock(op: Operator) -> None:
    assert op.daemon.run("track", "products", "--index", "products").exit_code == 0
    op.db.execute("INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(1, 1000) n")
    op.start()
    wait_until(lambda: undelivered(op.db) == 0, 60, "all to be delivered")


def test_another_mapping(op: Operator, elastic: Elastic, tmp_path: Path) -> None:
    elastic.create_index("products-1")
    elastic.call("POST", "/_aliases", {"actions": [{"add": {"index": "products-1", "alias": "products"}}]})
    stock(op)
    (mapping,) = [block.text for block in blocks(DOCUMENT) if block.language == "json"]
    (tmp_path / "products-2.json").write_text(mapping)

    op.sees("reindex")
    assert set(elastic.call("GET", "/_alias/products")) == {"products-2"}
    assert elastic.call("GET", "/products/_mapping")["products-2"]["mappings"]["properties"]["name"] == {"type": "keyword"}
    op.run("drop")
    assert elastic.request("GET", "/products-1").status == 404

    elastic.create_index("products-1")
    op.daemon.run("track", "products", "--index", "products-2")
    elastic.call("POST", "/_aliases", {"actions": [{"remove": {"index": "products-2", "alias": "products"}},
                                                   {"add": {"index": "products-1", "alias": "products"}}]})
    op.run("abort")
    assert elastic.request("GET", "/products-2").status == 404
    elastic.delete_index("products-1")


def test_an_index_becomes_an_alias(op: Operator, elastic: Elastic) -> None:
    stock(op)
    op.run("first")
    wait_until(lambda: undelivered(op.db) == 0, 60, "all to be delivered")
    assert "no difference" in op.run("first-verify")
    op.run("first-move")
    assert set(elastic.call("GET", "/_alias/products")) == {"products-1"}
    op.db.execute("UPDATE products SET name = 'another' WHERE id = 7")
    wait_until(lambda: (document := elastic.get("products-1", "7")) and b"another" in document.source.encode(), 30, "a change to be there")
    elastic.delete_index("products-1")
