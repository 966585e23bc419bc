"""What `backfill` and `verify` of a large table cost, and what a refresh does to an event's way.

The live events beside them are of another index, a hundred a second, one transaction each: what they wait for is the harm that is done.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import latency  # noqa: E402
from bench import elasticsearch, postgres, show  # noqa: E402
from harness import Completed, Database, Elastic  # noqa: E402
from release import ROOT, fine, relay  # noqa: E402

INDEX = "products"
LIVE = "live"
LIVE_RATE = 100
MAPPING = {"dynamic": False, "properties": {"name": {"type": "text"}, "price": {"type": "double"}, "text": {"type": "text", "index": False}}}
REFRESH = "CASE o.event WHEN 'wait_for' THEN 'wait_for' WHEN 'true' THEN 'true' END"
SAMPLES = 40


def live(db: Database, elastic: Elastic, seconds: int, into: dict[str, float]) -> threading.Thread:
    def measure() -> None:
        measured = latency.measure(db, elastic.url, LIVE, LIVE_RATE, seconds)
        into.update(live_p50_ms=measured.percentile(0.5), live_p99_ms=measured.percentile(0.99))

    thread = threading.Thread(target=measure)
    thread.start()
    return thread


def beside_live(db: Database, elastic: Elastic, rows: int, work: Callable[[], Completed]) -> dict[str, float]:
    """The work, with live events beside its first 15 s."""
    found: dict[str, float] = {}
    postgres_before, elastic_before = db.server.cpu_seconds(), elastic.cpu_seconds()
    thread = live(db, elastic, 15, found)
    began = time.monotonic()
    done = work()
    seconds = time.monotonic() - began
    thread.join()
    return {"seconds": seconds, "rows_s": rows / seconds, "own_cpu_s": done.cpu_seconds, "peak_rss_mb": done.peak_rss_kb / 1024,
            "postgres_cpu_s": db.server.cpu_seconds() - postgres_before,
            "elasticsearch_cpu_s": elastic.cpu_seconds() - elastic_before} | found


def backfill(db: Database, elastic: Elastic, rows: int) -> dict[str, float]:
    elastic.delete_index(INDEX)
    elastic.create_index(INDEX, MAPPING)
    db.execute("TRUNCATE outbox")
    delivered = "SELECT count(*) FROM outbox WHERE processed AND aggregate_type = 'products'"

    def work() -> Completed:
        done = fine(relay(db, elastic).run("backfill", INDEX, timeout=3600))
        while db.value("SELECT EXISTS (SELECT FROM outbox WHERE NOT processed AND aggregate_type = 'products')"):
            time.sleep(0.2)
        return done

    values = beside_live(db, elastic, rows, work)
    elastic.refresh(INDEX)
    if elastic.count(INDEX) != rows or db.value(delivered) < rows:
        raise RuntimeError(f"{elastic.count(INDEX)} of {rows} documents arrived")
    return values


def verify(db: Database, elastic: Elastic, rows: int, *words: str, expect: dict[str, int] | None = None) -> dict[str, float]:
    said: dict[str, Any] = {}

    def work() -> Completed:
        done = fine(relay(db, elastic).run("verify", INDEX, "--json", *words, timeout=3600), 65 if expect else 0)
        said.update(json.loads(done.stdout))
        return done

    values = beside_live(db, elastic, rows, work)
    differences = {name: said[name] for name in ("missing", "stale", "extra")}
    if differences != {"missing": 0, "stale": 0, "extra": 0} | (expect or {}):
        raise RuntimeError(f"found {differences}")
    return values | {"rows_s": said["rows"] / values["seconds"]}


def plant(elastic: Elastic, rows: int) -> dict[str, int]:
    """A thousandth of the documents gets another price, as many are deleted."""
    changes: list[str] = []
    for n in range(1, rows, 1000):
        changes += [json.dumps({"update": {"_id": str(n)}}), '{"doc": {"price": -1}}', json.dumps({"delete": {"_id": str(n + 1)}})]
    answer = elastic.call("POST", f"/{INDEX}/_bulk?refresh=true", "\n".join(changes) + "\n")
    if answer["errors"]:
        raise RuntimeError("the differences could not be planted")
    return {"stale": rows // 1000, "missing": rows // 1000}


def refreshes(db: Database, elastic: Elastic) -> dict[str, dict[str, float]]:
    """One event at a time; an index that is searched, so that it refreshes each second."""
    found = {}
    with db.connect() as connection:  # one for all looks: a new one would be most of what is measured
        def value(statement: str, *parameters: object) -> Any:
            return connection.execute(statement, parameters).fetchone()[0]

        for how in ("none", "wait_for", "true"):
            delivered, searchable = [], []
            for n in range(SAMPLES):
                name = f"{how}-{n}"
                began = time.monotonic()
                id = value("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) VALUES (%s, 'searched', %s, '{\"n\": 1}') RETURNING id",
                           how, name)
                while not value("SELECT processed FROM outbox WHERE id = %s", id):
                    time.sleep(0.001)
                delivered.append(1000 * (time.monotonic() - began))
                while elastic.call("POST", "/searched/_count", {"query": {"ids": {"values": [name]}}})["count"] == 0:
                    time.sleep(0.001)
                searchable.append(1000 * (time.monotonic() - began))
                time.sleep(0.013 * (n % 7))  # not in step with the refreshes
            found[how] = {"delivered_p50_ms": median(delivered), "delivered_max_ms": max(delivered),
                          "searchable_p50_ms": median(searchable), "searchable_max_ms": max(searchable)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "table.json")
    options = parser.parse_args()
    rows, results = options.rows, {}

    def keep(title: str, *rounds: dict[str, float]) -> None:
        results[title] = {name: median(one[name] for one in rounds) for name in rounds[0]}
        show(title, results[title])

    with postgres() as server, elasticsearch() as elastic:
        db = server.createdb()
        fine(relay(db, elastic).run("init", "--notify"))
        db.execute("CREATE TABLE products (id bigint PRIMARY KEY, name text, price numeric, text text)")
        db.execute(f"INSERT INTO products SELECT n, 'product ' || n, n + 0.50, repeat(md5(n::text), 10) FROM generate_series(1, {rows}) n")
        db.execute("VACUUM ANALYZE products")
        for index in (LIVE, "searched"):
            elastic.create_index(index, {"properties": {"n": {"type": "integer"}, "title": {"type": "text"}}})
        fine(relay(db, elastic).run("track", INDEX, "--index", INDEX))
        daemon = relay(db, elastic, outbox_refresh=REFRESH)
        daemon.start()
        try:
            daemon.wait_log("wakeups_work", timeout=30)
            keep(f"backfill of {rows:,} rows, delivered", *(backfill(db, elastic, rows) for _ in range(options.rounds)))
            keep(f"verify of {rows:,} documents", *(verify(db, elastic, rows) for _ in range(options.rounds)))
            keep("verify --sample 1%", *(verify(db, elastic, rows, "--sample", "1%") for _ in range(options.rounds)))
            keep("verify, two in a thousand differ", verify(db, elastic, rows, expect=plant(elastic, rows)))
            alone: dict[str, float] = {}
            live(db, elastic, 15, alone).join()
            keep("live events with nothing beside them", alone)
            for how, values in refreshes(db, elastic).items():
                keep(f"one event, refresh {how}", values)
        finally:
            daemon.terminate()
            daemon.close()
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
