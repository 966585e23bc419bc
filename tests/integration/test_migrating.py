"""docs/MIGRATING.md: each way there and back, with an old way that goes on beside it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import undelivered
from shell import Operator

from harness import Database, Elastic, Postgres, wait_until

DOCUMENT = "docs/MIGRATING.md"
OLD, NEW, ALIAS = "products", "products-2", "products-search"
ROWS = 2500  # more than two chunks of the backfill
LOST, ORPHAN, CHANGED = "7", "9999", "42"


class Migration(Operator):
    """An application's products, and the old way that writes them into the old index."""

    def search(self, index: str) -> dict[str, Any]:
        self.elastic.refresh(index)
        return {hit["_id"]: hit["_source"] for hit in self.elastic.search(index, size=10_000)}

    def table(self) -> dict[str, Any]:
        # A whole price is a whole number in the documents of either way.
        return {str(number): {"id": number, "name": name, "price": json.loads(str(price))}
                for number, name, price in self.db.execute("SELECT id, name, price FROM products")}

    def version(self, index: str, number: str) -> int:
        return int(self.elastic.call("GET", f"/{index}/_doc/{number}")["_version"])

    def old_way(self, number: str, document: Any) -> None:
        """Without a version, as who writes twice does."""
        path = f"/{OLD}/_doc/{number}"
        self.elastic.call(*(("DELETE", path) if document is None else ("PUT", path, document)))

    def fill_old(self) -> None:
        documents = self.table()
        self.elastic.create_index(OLD)
        for number in sorted(documents.keys() - {LOST}, key=int)[:60]:
            self.old_way(number, documents[number])

    def wait_delivered(self) -> None:
        wait_until(lambda: undelivered(self.db) == 0, 60, "an empty outbox")

    def change(self, number: int, price: float, session: Any = None) -> None:
        """What the application does now."""
        (session or self.db).execute(
            "WITH p AS (UPDATE products SET price = %s WHERE id = %s RETURNING *) "
            "SELECT outbox_publish('products', id::text, to_jsonb(p), 'product_updated') FROM p", [price, number])


@pytest.fixture
def op(db: Database, elastic: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> Iterator[Migration]:
    elastic.ensure_running()
    for name in (OLD, NEW):
        elastic.delete_index(name)
    db.execute("CREATE TABLE products (id bigint PRIMARY KEY, name text, price numeric)")
    db.execute("INSERT INTO products SELECT n, 'product ' || n, n + 0.5 FROM generate_series(1, %s) n", [ROWS])
    yield Migration(DOCUMENT, db, elastic, tmp_path, outboxd(relay_poll_interval="50ms", retry_base="50ms"))
    for name in (OLD, NEW):
        elastic.delete_index(name)


def begin(op: Migration, settings: str = "settings") -> None:
    """Steps 1 and 2, up to a daemon that runs."""
    op.daemon.settings.update(op.settings(settings))
    op.run("alias")
    op.run("index")
    assert "PROBLEM" not in op.run("start")
    op.start()


@contextmanager
def customers(op: Migration) -> Iterator[None]:
    """Who change prices while something else goes on."""
    closing = threading.Event()

    def buy() -> None:
        price = 1000.0
        with op.db.connect() as session:
            while not closing.is_set():
                price += 1
                with session.transaction():
                    op.change(1 + int(price * 7) % 60, price, session)  # those that every test has

    with ThreadPoolExecutor() as pool:
        bought = pool.submit(buy)
        try:
            yield
        finally:
            closing.set()
        bought.result(30)


def test_from_dual_writes_and_back(op: Migration) -> None:
    op.db.execute("DELETE FROM products WHERE id > 60")
    op.fill_old()
    op.old_way(ORPHAN, {"id": int(ORPHAN), "name": "deleted in the database", "price": 1})
    begin(op)
    op.run("dual-writes")
    op.old_way(CHANGED, op.table()[CHANGED])
    with customers(op):
        op.run("backfill")
    op.wait_delivered()
    assert op.search(NEW) == op.table()
    for number, document in op.table().items():
        if number != LOST:
            op.old_way(number, document)

    differences = op.run("compare")
    assert f'> "_id": "{LOST}"' in squeeze(differences) and f'< "_id": "{ORPHAN}"' in squeeze(differences)
    assert "equal" not in differences
    op.old_way(LOST, op.table()[LOST])
    op.old_way(ORPHAN, None)
    assert op.run("compare") == "equal\n"

    op.run("switch")
    op.run("dual-writes-delete")
    op.old_way(CHANGED, None)
    op.wait_delivered()
    assert CHANGED not in op.search(ALIAS) and op.search(ALIAS) == op.table()
    op.change(3, 77)
    op.old_way("3", op.table()["3"])
    op.run("back")
    assert op.search(ALIAS) == op.table(), "the old index is as fresh as ever"


def squeeze(text: str) -> str:
    return " ".join(text.split())


def test_the_backfill_beside_writers(op: Migration) -> None:
    op.elastic.create_index(OLD)
    begin(op)
    with customers(op):
        op.run("backfill")
        op.run("backfill")
    op.wait_delivered()
    assert len(op.table()) == ROWS and op.search(NEW) == op.table()


def test_the_backfill_waits_for_a_change_that_is_under_way(op: Migration) -> None:
    """It reads a row as it is after that change, and its event comes after the change's own."""
    op.elastic.create_index(OLD)
    begin(op)
    with op.db.connect() as session, ThreadPoolExecutor() as pool:
        with session.transaction():
            op.change(int(CHANGED), 1000, session)
            filled = pool.submit(op.run, "backfill")
            wait_until(lambda: op.db.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                           "AND query LIKE '%%FOR SHARE%%' AND datname = current_database()") == 1,
                       30, "a backfill that waits")
        filled.result(60)
    op.wait_delivered()
    assert op.search(NEW) == op.table()
    assert op.search(NEW)[CHANGED]["price"] == 1000


def age(op: Migration, number: str, versions: int) -> None:
    """A document that was written so many times."""
    for n in range(versions):
        op.old_way(number, {"id": int(number), "name": "old", "price": n})


def test_into_the_same_index(op: Migration) -> None:
    op.elastic.create_index(OLD)
    age(op, CHANGED, 57)
    assert op.version(OLD, CHANGED) == 57
    op.run("start")
    op.run("restart")
    op.start()
    op.change(int(CHANGED), 1)
    op.wait_delivered()
    assert op.version(OLD, CHANGED) >= 1_000_000_000

    op.old_way(CHANGED, {"id": 42, "name": "a late dual write", "price": 0})
    op.run("backfill")
    op.wait_delivered()
    assert op.search(OLD) == op.table()

    op.daemon.terminate()
    before = op.version(OLD, CHANGED)
    op.old_way(CHANGED, {"id": 42, "name": "back", "price": 2})
    assert op.version(OLD, CHANGED) == before + 1


@pytest.mark.parametrize("drawn", [0, 100])
def test_into_the_same_index_without_the_restart(op: Migration, drawn: int) -> None:
    """Nothing is lost: not when the version is above all ids, and not when other events have drawn an id like it."""
    op.elastic.create_index(OLD)
    age(op, CHANGED, 57)
    op.run("start")
    op.db.execute("SELECT outbox_publish('products', n::text, '{}', 'other') FROM generate_series(1001, 1020) n")
    op.change(int(CHANGED), 1000)
    op.db.execute("SELECT outbox_publish('products', n::text, '{}', 'other') FROM generate_series(2001, 2000 + %s) n", [drawn])
    op.start()
    op.daemon.wait_log("version_from_the_future", timeout=30)
    wait_until(lambda: undelivered(op.db) == 1, 30, "all but one delivered")
    assert op.db.value("SELECT error->>'type' FROM outbox WHERE NOT processed") == "version_from_the_future"
    assert op.search(OLD)[CHANGED]["name"] == "old"

    op.run("raise") if drawn else op.sees("raise")
    op.wait_delivered()
    assert op.search(OLD)[CHANGED] == op.table()[CHANGED]


def inserted(session: Any, operations: dict[str, int]) -> None:
    """What the write-ahead log says about the outbox, as Debezium would read it."""
    for (line,) in session.execute("SELECT data FROM pg_logical_slot_get_changes('debezium', NULL, NULL)").fetchall():
        for verb in operations:
            operations[verb] += line.startswith(f"table public.outbox: {verb}:")


def test_from_debezium(elastic: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    for name in (OLD, NEW):
        elastic.delete_index(name)
    with Postgres({"wal_level": "logical"}) as server:
        db = server.createdb()
        db.execute("CREATE TABLE products (id bigint PRIMARY KEY, name text, price numeric)")
        db.execute("INSERT INTO products SELECT n, 'product ' || n, n + 0.5 FROM generate_series(1, 50) n")
        db.execute("CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype varchar(255) NOT NULL, "
                   "aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb)")
        insert = ("INSERT INTO outbox SELECT gen_random_uuid(), 'Products', id::text, 'Changed', to_jsonb(p) FROM products p "
                  "WHERE id = %s")
        op = Migration(DOCUMENT, db, elastic, tmp_path, outboxd(postgres_dsn=db.dsn, relay_poll_interval="50ms"))
        op.daemon.settings.update(op.settings("debezium-settings"))
        op.fill_old()
        op.run("alias")
        op.run("index")
        db.execute(insert, [1])
        db.execute("UPDATE products SET price = 5 WHERE id = 1")
        op.run("debezium-init")
        db.execute("SELECT pg_create_logical_replication_slot('debezium', 'test_decoding')")
        op.run("debezium-old")
        op.start()
        op.run("debezium-backfill")
        db.execute(insert, [CHANGED])
        db.execute("UPDATE products SET price = 6 WHERE id = 42")
        db.execute(insert, [CHANGED])
        db.execute("DELETE FROM products WHERE id = 50")
        db.execute("INSERT INTO outbox VALUES (gen_random_uuid(), 'Products', '50', 'Deleted', NULL)")
        op.wait_delivered()
        wait_until(lambda: db.value("SELECT count(*) FROM outbox") == 0, 30, "an empty table")
        assert op.search(NEW) == op.table()
        operations = {"INSERT": 0, "UPDATE": 0, "DELETE": 0}
        with db.connect() as session:
            session.execute("CHECKPOINT")  # settled with synchronous_commit = off: decoding reads what is on disk
            inserted(session, operations)
        assert operations == {"INSERT": 53, "UPDATE": 0, "DELETE": 54}
        assert "debezium" in op.run("slots")
        op.run("switch")
        assert op.search(ALIAS) == op.table()
        op.daemon.close()
    for name in (OLD, NEW):
        elastic.delete_index(name)


def test_from_logstash(op: Migration) -> None:
    op.db.execute("DELETE FROM products WHERE id > 200")
    op.fill_old()
    begin(op)
    op.run("trigger")
    op.run("backfill")
    op.db.execute("UPDATE products SET price = price + 1 WHERE id % 3 = 0")
    op.db.execute("DELETE FROM products WHERE id % 10 = 0")
    op.db.execute("UPDATE products SET id = id + 5000 WHERE id % 7 = 0")
    op.db.execute("INSERT INTO products VALUES (1000, 'new', 1)")
    op.wait_delivered()
    assert op.search(NEW) == op.table()
    events = op.db.value("SELECT count(*) FROM outbox")
    op.run("drop-trigger")
    op.db.execute("UPDATE products SET price = 1")
    assert op.db.value("SELECT count(*) FROM outbox") == events


def test_from_pgsync(op: Migration) -> None:
    op.db.execute("DELETE FROM products WHERE id > 200")
    op.db.execute("CREATE TABLE variants (sku text PRIMARY KEY, product bigint REFERENCES products ON DELETE CASCADE, "
                  "price numeric)")
    op.db.execute("INSERT INTO variants SELECT 'V' || n, n, n FROM generate_series(1, 100) n")
    op.run("pgsync-view")
    op.fill_old()
    begin(op, "pgsync-settings")
    op.run("pgsync-triggers")
    block = op.known["backfill"]
    op.db.execute(block.text.replace("to_jsonb(c)", "NULL"))  # type: ignore[arg-type]
    op.db.execute("UPDATE variants SET price = 1000 WHERE product = 42")
    op.db.execute("UPDATE variants SET product = 43 WHERE product = 44")
    op.db.execute("DELETE FROM variants WHERE product = 45")
    op.db.execute("DELETE FROM products WHERE id IN (46, 150)")
    op.db.execute("INSERT INTO products VALUES (1000, 'new', 1)")
    op.db.execute("UPDATE products SET id = 2000 WHERE id = 160")
    op.wait_delivered()

    truth = {str(number): document for number, document in op.db.execute("SELECT id, document FROM product_documents")}
    found = op.search(NEW)
    assert found == truth
    assert [variant["sku"] for variant in found["43"]["variants"]] == ["V43", "V44"] and found["44"]["variants"] == []
