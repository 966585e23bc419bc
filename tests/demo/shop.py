"""A small shop, written twice: with dual writes, and with an outbox."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from http.client import HTTPException
from typing import Any

import psycopg

from harness import ElasticClient, ElasticError, wait_until

TABLE = """
CREATE TABLE products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    price numeric(10, 2) NOT NULL
)
"""
MAPPINGS: dict[str, Any] = {
    "properties": {
        "id": {"type": "long"},
        "name": {"type": "text"},
        "price": {"type": "double"},
    },
}
PER_SECOND = 200
SEARCH_TIMEOUT = 0.5

_WORDS = [words.split() for words in (
    "quiet bright sturdy gentle curious faithful nimble patient merry humble noble swift rustic cosy proud tiny",
    "walnut brass copper linen cedar marble wicker leather bamboo slate velvet pewter amber maple cotton silver",
    "lantern kettle teapot compass mirror cradle ladder whistle basket anvil candle bridle pillow trunk clock violin",
    "Oslo Porto Ghent Turin Cork Lviv Malmo Graz Leeds Bergen Lyon Bruges Riga Siena Tartu Krakow",
)]


def product(number: int) -> tuple[str, Decimal]:
    """Name and price; the first 65,536 names differ, so a search for a name finds one product or none."""
    rest = number * 40_503 % 65_536
    picked = []
    for words in _WORDS:
        rest, choice = divmod(rest, len(words))
        picked.append(words[choice])
    first, second, third, town = picked
    return f"{first.capitalize()} {second} {third} from {town}", Decimal(990 + number * 41 % 9_000) / 100


class Shop:
    """Adds one product after another, at a steady pace, until it is closed."""

    def __init__(self, dsn: str) -> None:
        self.log: list[str] = []
        self._database: psycopg.Connection[Any] = psycopg.connect(dsn, autocommit=True)
        self._added = 0
        self._failure: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, name: str, price: Decimal) -> None:
        raise NotImplementedError

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(10)
        self._database.close()

    def wait_added(self, count: int) -> None:
        """Until it has added so many products in all."""
        wait_until(lambda: self.added >= count, 120, f"product {count} of the shop")

    @property
    def added(self) -> int:
        if self._failure is not None:
            raise RuntimeError(f"the shop broke down: {self._failure}") from self._failure
        return self._added

    def _run(self) -> None:
        next_at = time.monotonic()
        while not self._closing.wait(max(0, next_at - time.monotonic())):
            try:
                self.add(*product(self._added + 1))
            except Exception as error:
                self._failure = error
                return
            self._added += 1
            next_at = max(next_at + 1 / PER_SECOND, time.monotonic())


class DualWriteShop(Shop):
    """PostgreSQL first, then Elasticsearch: two systems, and no transaction around both."""

    def __init__(self, dsn: str, elasticsearch_url: str, index: str) -> None:
        super().__init__(dsn)
        self._index = index
        self._search = ElasticClient(elasticsearch_url, timeout=SEARCH_TIMEOUT)

    def add(self, name: str, price: Decimal) -> None:
        row = self._database.execute(
            "INSERT INTO products (name, price) VALUES (%s, %s) RETURNING id, to_jsonb(products)::text",
            (name, price)).fetchone()
        assert row
        number, document = row
        try:
            self._search.call("PUT", f"/{self._index}/_doc/{number}", document)
        except (OSError, HTTPException, ElasticError) as error:
            # The customer's page must not fail because search does; somebody will see it in the log.
            self.log.append(f"WARN could not index product {number}: {error}")


class OutboxShop(Shop):
    """Row and event in one transaction: both are there, or neither. Elasticsearch is not the shop's business."""

    def __init__(self, dsn: str, index: str) -> None:
        super().__init__(dsn)
        self._index = index

    def add(self, name: str, price: Decimal) -> None:
        with self._database.transaction():
            row = self._database.execute(
                "INSERT INTO products (name, price) VALUES (%s, %s) RETURNING id", (name, price)).fetchone()
            assert row
            publish(self._database, self._index, row[0], "product_created")


def publish(database: psycopg.Connection[Any], index: str, number: int, event: str) -> None:
    """The product as it stands now, or its deletion when it is gone: after the change, in the same transaction."""
    database.execute(
        "SELECT outbox_publish(%s, %s, (SELECT to_jsonb(p) FROM products p WHERE p.id = %s), %s)",
        (index, str(number), number, event))


def change_price(database: psycopg.Connection[Any], index: str, number: int, price: Decimal) -> None:
    with database.transaction():
        database.execute("UPDATE products SET price = %s WHERE id = %s", (price, number))
        publish(database, index, number, "product_updated")


def delete(database: psycopg.Connection[Any], index: str, number: int) -> None:
    with database.transaction():
        database.execute("DELETE FROM products WHERE id = %s", (number,))
        publish(database, index, number, "product_deleted")
