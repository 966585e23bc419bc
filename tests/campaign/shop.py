"""A shop that knows of no outbox: nested documents of three tables, and those who change them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import psycopg

from harness import Database, Outboxd

from world import World
from writers import Writers

INDEX = "shop"
# The first price that comes may be a whole number, and would make a long of all.
MAPPINGS: dict[str, Any] = {"properties": {"price": {"type": "double"}, "variants": {"properties": {"price": {"type": "double"}}},
                                           "stock": {"properties": {"pieces": {"type": "double"}}}}}
TABLES = """
CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);
CREATE TABLE variants (sku bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, color text, price numeric,
    product bigint NOT NULL REFERENCES products ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE stock (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, place text, pieces numeric,
    product bigint NOT NULL REFERENCES products ON DELETE CASCADE ON UPDATE CASCADE);
CREATE INDEX ON variants (product);
CREATE INDEX ON stock (product);
CREATE VIEW product_documents AS
SELECT p.id, jsonb_build_object('name', p.name, 'price', p.price,
    'variants', (SELECT coalesce(jsonb_agg(jsonb_build_object('sku', v.sku, 'color', v.color, 'price', v.price) ORDER BY v.sku), '[]')
                 FROM variants v WHERE v.product = p.id),
    'stock', (SELECT coalesce(jsonb_agg(jsonb_build_object('place', s.place, 'pieces', s.pieces) ORDER BY s.id), '[]')
              FROM stock s WHERE s.product = p.id)) AS document
FROM products p;
"""
STOCK = """
INSERT INTO products SELECT n, 'product ' || n, n + 0.10 FROM generate_series(1, {products}) n;
INSERT INTO variants (color, price, product) SELECT c, n, n FROM generate_series(1, {products}) n, unnest('{{red,blue}}'::text[]) c;
INSERT INTO stock (place, pieces, product) SELECT 'shelf', n, n FROM generate_series(1, {products}) n;
ANALYZE;
"""
Change = Callable[[psycopg.Connection[Any], random.Random, int, int], Any]  # a key, and one that may be free


def new_product(c: psycopg.Connection[Any], rng: random.Random, _: int, free: int) -> None:
    if c.execute("INSERT INTO products VALUES (%s, 'new', %s) ON CONFLICT DO NOTHING", [free, rng.randrange(10**6)]).rowcount:
        c.execute("INSERT INTO variants (color, price, product) SELECT 'green', n, %s FROM generate_series(1, %s) n",
                  [free, rng.randrange(4)])


# weight, what is done
CHANGES: list[tuple[int, Change]] = [
    (20, lambda c, r, key, _: c.execute("UPDATE products SET price = %s WHERE id = %s", [f"{r.randrange(10**8)}.{r.randrange(10**8):08}", key])),
    (15, lambda c, r, key, _: c.execute("UPDATE variants SET price = price + 1 WHERE product = %s", [key])),
    (15, lambda c, r, key, _: c.execute("UPDATE stock SET pieces = %s WHERE product = %s", [r.randrange(1000), key])),
    (10, new_product),
    (8, lambda c, r, key, _: c.execute("DELETE FROM products WHERE id = %s", [key])),
    (8, lambda c, r, key, free: c.execute("UPDATE products SET id = %s WHERE id = %s AND NOT EXISTS (SELECT FROM products WHERE id = %s)",
                                          [free, key, free])),
    (6, lambda c, r, key, free: c.execute("UPDATE variants SET product = %s WHERE product = %s AND EXISTS (SELECT FROM products WHERE id = %s)",
                                          [free, key, free])),
    (6, lambda c, r, key, _: c.execute("INSERT INTO stock (place, pieces, product) SELECT 'yard', 1, id FROM products WHERE id = %s", [key])),
    (4, lambda c, r, key, _: c.execute("DELETE FROM variants WHERE product = %s AND color = 'red'", [key])),
    (2, lambda c, r, key, _: c.execute("UPDATE products SET price = price * 1.01 WHERE id BETWEEN %s AND %s", [key, key + 50])),
    (1, lambda c, r, key, _: c.execute("DELETE FROM stock WHERE product BETWEEN %s AND %s AND pieces < 10", [key, key + 200])),
]


class ShopWriters(Writers):
    def __init__(self, db: Database, seed: int, rate: float, products: int) -> None:
        self.changes = 0
        self._counted = threading.Lock()
        self._products = products
        super().__init__(db, seed, rate, import_rate=0)

    def _transaction(self, connection: psycopg.Connection[Any], rng: random.Random) -> int:
        size = rng.randrange(2, 5) if rng.random() < 0.2 else 1
        with connection.transaction() as transaction:
            for _ in range(size):
                key = rng.randrange(1, 50) if rng.random() < 0.2 else rng.randrange(1, self._products * 6 // 5)
                rng.choices([change for _, change in CHANGES], [weight for weight, _ in CHANGES])[0](
                    connection, rng, key, rng.randrange(1, self._products * 6 // 5))
            if rng.random() > 0.97:
                raise psycopg.Rollback(transaction)
        with self._counted:
            self.changes += size
        return size


class Shop(World):
    """All products are there before the triggers; `backfill` makes events of them once the relays run."""

    indexes = {INDEX: MAPPINGS}
    products = 5000
    writers: ShopWriters

    def prepare(self) -> ShopWriters:
        self.db.execute(TABLES)
        self.db.execute(STOCK.format(products=self.products))
        done = self.operator.run("track", "products", "--index", INDEX, "--document", "product_documents",
                                 "--touches", "variants.product,stock.product")
        if done.exit_code != 0:
            raise RuntimeError(f"track failed:\n{done.stderr}")
        return ShopWriters(self.db, self._seed, self._rates[0], self.products)

    def backfill(self) -> Outboxd:
        self.operator.begin("backfill", "products")
        return self.operator
