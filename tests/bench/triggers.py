"""What `outboxd track` costs a writer: microseconds of a row, without triggers and with each form of them; medians.

    tests/bench/triggers [--rows 50000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.outboxd import binary  # noqa: E402
from harness.postgres import Database, Postgres  # noqa: E402

FORMS = {"no triggers": None, "statement triggers": [], "row triggers": ["--always"]}


def outboxd(db: Database, *words: str) -> None:
    subprocess.run([binary(), *words], check=True, stdout=subprocess.DEVNULL,
                   env={"OUTBOXD_POSTGRES_DSN": db.dsn, "OUTBOXD_ELASTICSEARCH_URL": "http://localhost:9200"})


def prepare(db: Database, form: list[str] | None) -> None:
    db.execute("DROP TABLE IF EXISTS products; CREATE TABLE products (id bigint PRIMARY KEY, name text, price numeric, text text); "
               "TRUNCATE outbox")
    if form is not None:
        outboxd(db, "track", "products", "--index", "products", *form)


def single(db: Database, rows: int) -> None:
    """One transaction, so that no commit is waited for."""
    with db.connect() as connection:
        connection.execute("BEGIN")
        with connection.cursor() as cursor:
            for n in range(rows // 10):
                cursor.execute("UPDATE products SET price = price + 1 WHERE id = %s", [n + 1])
        connection.execute("COMMIT")


WORK: dict[str, tuple[Callable[[Database, int], object], int]] = {
    "INSERT of all rows": (lambda db, rows: db.execute(
        f"INSERT INTO products SELECT n, 'product ' || n, n + 0.5, repeat('x', 300) FROM generate_series(1, {rows}) n"), 1),
    "UPDATE of all rows": (lambda db, rows: db.execute("UPDATE products SET price = price + 1"), 1),
    "UPDATEs of one row": (single, 10),
    "DELETE of all rows": (lambda db, rows: db.execute("DELETE FROM products"), 1),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    times: dict[tuple[str, str], list[float]] = {}
    with Postgres() as server:
        db = server.createdb()
        outboxd(db, "init")
        for _ in range(given.rounds):
            for form, flags in FORMS.items():
                prepare(db, flags)
                for name, (work, part) in WORK.items():
                    begun = time.monotonic()
                    work(db, given.rows)
                    times.setdefault((name, form), []).append((time.monotonic() - begun) / given.rows * part * 1e6)
    print(f"{'us a row':20}" + "".join(f"{form:>20}" for form in FORMS))
    for name in WORK:
        print(f"{name:20}" + "".join(f"{statistics.median(times[name, form]):20.1f}" for form in FORMS))


if __name__ == "__main__":
    main()
