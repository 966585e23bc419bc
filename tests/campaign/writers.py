"""Those who write events: all that they commit is in the table `history`, by a trigger, in the same transaction."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from harness import Database

INDEXES = ("goods", "parts", "ledger")
MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "n": {"type": "long"},
        "price": {"type": "double"},
        "text": {"type": "text", "index": False},
        "deleted": {"type": "boolean"},
        "raw": {"type": "object", "enabled": False},
    },
}
KEYS = 1200  # of each index
HOT = 25
HISTORY = """
CREATE TABLE history (id bigint PRIMARY KEY, event text, idx text NOT NULL, doc text NOT NULL, data text);
CREATE INDEX history_key ON history (md5(doc), id);
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO history VALUES (NEW.id, NEW.event, NEW.aggregate_type, NEW.aggregate_id, NEW.data::text);
    RETURN NULL;
END $$;
CREATE TRIGGER remember AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION remember();
CREATE TABLE entity (name text PRIMARY KEY, changes int NOT NULL);
"""
# The mapping of all relays: some rows are such that it fails.
DOCUMENT = "CASE WHEN o.event = 'poison_row' THEN to_jsonb(1 / (o.id - o.id)) ELSE o.data END"
# A mapping that fails on every one of 20 rows is taken for the mapping's own fault, and kills none: so stay below.
POISON_ROWS_MAX = 15
BAD_INDEXES = ("Goods", "_goods", "go ods", "go/ods", "..", "g" * 300, "goods#1")
ODD_NUMBERS = ("19.90", "0.10", "1e-40", "123456789012345678901234567890.123400", "1e300", "-0.0", "18446744073709551616",
               "2.50000000000000000001", "1E+2", "100.000")
WORDS = ("walnut", "brass", "Größe", "naïve", "line\\nbreak", "quote \\\" here", "tab\\there", "日本", "\\u0001", "😀")
Write = Callable[[psycopg.Connection[Any], random.Random], int]  # how many events
Event = tuple[str, str, str | None, str]  # index, document id, data, label
# An import's documents are its own: one writer, so that the order of ids is the order of commits without any lock.
IMPORT_KEYS = 100_000  # of each index
IMPORT_HOT = 500
IMPORT_SIZES = (20, 500, 500, 5000)  # events of one transaction
IMPORT = ("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) "
          "SELECT 'imported', u.i, u.d, u.data::jsonb FROM unnest(%s::text[], %s::text[], %s::text[]) AS u (i, d, data) "
          "RETURNING id")


def document_id(number: int) -> str:
    return f'k {number} "é" \\' if number % 97 == 0 else f"k-{number}"


class Poisons:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = 0

    def may_have_row(self) -> bool:
        with self._lock:
            self._rows += 1
            return self._rows <= POISON_ROWS_MAX


def make_event(rng: random.Random, poisons: Poisons, number: int | None = None) -> Event:
    if number is None:
        number = rng.randrange(HOT) if rng.random() < 0.3 else rng.randrange(KEYS)
    index, name = rng.choice(INDEXES), document_id(number)
    dice = rng.random()
    if dice < 0.13:
        return index, name, None, "deleted"
    if dice < 0.14:
        return index, name, make_document(rng, n='"seven"'), "poison_mapping"
    if dice < 0.142:
        return index, name + "x" * 600, make_document(rng), "poison_id"
    if dice < 0.144:
        return rng.choice(BAD_INDEXES), name, make_document(rng), "poison_index"
    if dice < 0.145 and poisons.may_have_row():
        return index, name, make_document(rng), "poison_row"
    return index, name, make_document(rng), "updated"


def make_document(rng: random.Random, n: str | None = None) -> str:
    size = rng.random()
    filler = "" if size > 0.05 else "x" * (rng.randrange(3000) if size > 0.003 else rng.randrange(20_000, 300_000))
    if size < 0.0002:
        filler = "y" * 1_500_000
    odd = ", ".join(f'"{at}": {rng.choice(ODD_NUMBERS)}' for at in range(rng.randrange(4)))
    return (f'{{"n": {n or rng.randrange(10**9)}, "price": {rng.choice(ODD_NUMBERS[:3])}, '
            f'"text": "{" ".join(rng.choices(WORDS, k=rng.randrange(20)))}{filler}", "raw": {{{odd}}}}}')


def make_import(rng: random.Random) -> tuple[list[str], list[str], list[str | None]]:
    size = rng.choice(IMPORT_SIZES)
    numbers = [rng.randrange(IMPORT_HOT if rng.random() < 0.3 else IMPORT_KEYS) for _ in range(size)]
    data = [None if rng.random() < 0.08 else f'{{"n": {rng.randrange(10**9)}, "price": 19.90, "text": "{rng.choice(WORDS)}"}}'
            for _ in numbers]
    return rng.choices(INDEXES, k=size), [f"i-{number}" for number in numbers], data


def publish(connection: psycopg.Connection[Any], event: Event) -> int:
    """The key says how: by outbox_publish, or by an INSERT behind the entity's own row lock."""
    index, name, data, label = event
    if len(name) % 2:
        row = connection.execute("SELECT outbox_publish(%s, %s, %s, %s)", [index, name, data, label]).fetchone()
    else:
        connection.execute("INSERT INTO entity VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET changes = entity.changes + 1",
                           [f"{index} {name}"])
        row = connection.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) VALUES (%s, %s, %s, %s) "
                                 "RETURNING id", [label, index, name, data]).fetchone()
    assert row
    return int(row[0])


class Writers:
    """Some threads, each with its own connection, at a steady rate together; and one that imports."""

    def __init__(self, db: Database, seed: int, rate: float, import_rate: float, count: int = 4) -> None:
        self.confirmed: list[int] = []  # the ids of events whose COMMIT was acknowledged
        self.failures = 0
        self.poisons = Poisons()
        self._db = db
        self._stop = threading.Event()
        self._may_write = threading.Event()
        self._may_write.set()
        self._threads = [self._thread(f"{seed} writer {n}", self._transaction, count / rate) for n in range(count)]
        if import_rate > 0:
            self._threads.append(self._thread(f"{seed} import", self._import, 1 / import_rate))
        self._in_transaction = threading.Semaphore(len(self._threads))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._may_write.set()
        for thread in self._threads:
            thread.join(60)

    def hold(self) -> None:
        """Returns when no transaction is open."""
        self._may_write.clear()
        for _ in self._threads:
            self._in_transaction.acquire()
        for _ in self._threads:
            self._in_transaction.release()

    def go_on(self) -> None:
        self._may_write.set()

    def _thread(self, name: str, write: Write, pause: float) -> threading.Thread:
        return threading.Thread(target=self._write, args=(random.Random(name), write, pause), name=name, daemon=True)

    def _write(self, rng: random.Random, write: Write, pause: float) -> None:
        connection: psycopg.Connection[Any] | None = None
        due = time.monotonic()
        while not self._stop.is_set():
            self._may_write.wait()
            with self._in_transaction:
                if not self._may_write.is_set():
                    continue
                try:
                    if connection is None or connection.closed:
                        connection = self._db.connect(connect_timeout=5, options="-c statement_timeout=5s")
                    done = write(connection, rng)
                except (psycopg.Error, psycopg.Rollback):  # the latter comes out where the ROLLBACK itself failed
                    self.failures += 1
                    done = 1
                    if connection is not None:
                        connection.close()
            due = max(due + done * pause, time.monotonic() - 1)
            self._stop.wait(max(0.0, due - time.monotonic()))
        if connection is not None:
            connection.close()

    def _transaction(self, connection: psycopg.Connection[Any], rng: random.Random) -> int:
        dice = rng.random()
        size = 200 if dice < 0.003 else rng.randrange(2, 6) if dice < 0.3 else 1
        # Sorted, so that two writers never wait for each other in a circle.
        events = sorted((make_event(rng, self.poisons) for _ in range(size)), key=lambda event: event[:2])
        with connection.transaction() as transaction:
            ids = [publish(connection, event) for event in events]
            if dice > 0.98:
                raise psycopg.Rollback(transaction)
        if dice <= 0.98:
            self.confirmed += ids
        return size

    def _import(self, connection: psycopg.Connection[Any], rng: random.Random) -> int:
        lists = make_import(rng)
        with connection.transaction():
            rows = connection.execute(IMPORT, lists).fetchall()
        self.confirmed += [row[0] for row in rows]
        return len(rows)
