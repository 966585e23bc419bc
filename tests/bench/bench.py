"""Measures outboxd beside the ceiling of the same box, in one run, as ratios and medians.

Timing says nothing across machines or runs; the shares do. No test depends on these numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ceiling  # noqa: E402
import latency  # noqa: E402
from harness import Database, Elastic, Outboxd, Postgres, insert_events  # noqa: E402
from harness.ports import HOST, free_port  # noqa: E402
from harness.workload import MAPPINGS  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = ROOT / "build" / "release" / "src" / "cmd" / "outboxd"
INDEX = "products"


def fresh_index(elastic: Elastic) -> None:
    elastic.delete_index(INDEX)
    elastic.create_index(INDEX, MAPPINGS)


def relay(db: Database, elastic: Elastic, **settings: object) -> Outboxd:
    return Outboxd(binary_path=BINARY, postgres_dsn=db.dsn, elasticsearch_url=elastic.url, **settings)


def fill(connection: psycopg.Connection, events: int) -> None:
    connection.execute("TRUNCATE outbox")
    insert_events(connection, events, index=INDEX)
    connection.execute("VACUUM ANALYZE outbox")
    connection.execute("CHECKPOINT")


def measure_drain(db: Database, elastic: Elastic, events: int, **settings: object) -> dict[str, float]:
    """One drain of `events` pending events, and the ceiling just before it."""
    with db.connect() as connection:
        fill(connection, events)
        fresh_index(elastic)
        ceiling_seconds = ceiling.measure(elastic, ceiling.bodies(connection, INDEX, events))
    fresh_index(elastic)
    postgres_before, elastic_before = db.server.cpu_seconds(), elastic.cpu_seconds()
    done = relay(db, elastic, **settings).run_once(timeout=900)
    if done.exit_code != 0:
        raise RuntimeError(f"the drain ended with {done.exit_code}:\n{done.stderr}")
    elastic.refresh(INDEX)
    if elastic.count(INDEX) != events:
        raise RuntimeError(f"{elastic.count(INDEX)} of {events} documents arrived")
    share = 100_000 / events
    return {
        "ceiling_events_s": events / ceiling_seconds,
        "drain_events_s": events / done.seconds,
        "share_of_ceiling": ceiling_seconds / done.seconds,
        "own_cpu_s_per_100k": done.cpu_seconds * share,
        "postgres_cpu_s_per_100k": (db.server.cpu_seconds() - postgres_before) * share,
        "elasticsearch_cpu_s_per_100k": (elastic.cpu_seconds() - elastic_before) * share,
        "peak_rss_mb": done.peak_rss_kb / 1024,
    }


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


def measure_latency(db: Database, elastic: Elastic, rate: int, seconds: int) -> dict[str, float]:
    fresh_index(elastic)
    elastic.call("PUT", f"/{INDEX}/_mapping", {"dynamic": "true", "properties": {"n": {"type": "integer"}}})
    with db.connect() as connection:
        connection.execute("TRUNCATE outbox")
    daemon = relay(db, elastic)
    daemon.run("init", "--notify")
    daemon.start()
    try:
        daemon.wait_log("wakeups_work", timeout=30)
        values = latency.measure(db, elastic.url, INDEX, rate, seconds)
        return {"p50_ms": latency.percentile(values, 0.5), "p99_ms": latency.percentile(values, 0.99),
                "samples": float(len(values))}
    finally:
        daemon.terminate()
        daemon.close()


def daemon_drain_seconds(db: Database, elastic: Elastic, events: int, scrapes_a_second: int) -> float:
    """A daemon meets a backlog, while somebody reads its metrics."""
    with db.connect() as connection:
        fill(connection, events)
    fresh_index(elastic)
    port = free_port()
    daemon = relay(db, elastic, admin_listen=f"{HOST}:{port}")
    stop = threading.Event()

    def scrape() -> None:
        while not stop.wait(1 / scrapes_a_second):
            with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
                assert b"outboxd_pending_events" in answer.read()

    scraper = threading.Thread(target=scrape)
    began = time.monotonic()
    daemon.start()
    try:
        daemon.wait_log("admin_listens", timeout=30)
        if scrapes_a_second:
            scraper.start()
        with db.connect() as connection:
            while connection.execute("SELECT EXISTS (SELECT FROM outbox WHERE NOT processed AND dead_at IS NULL)").fetchone()[0]:
                time.sleep(0.05)
        return time.monotonic() - began
    finally:
        stop.set()
        if scrapes_a_second:
            scraper.join()
        daemon.terminate()
        daemon.close()


def measure_scraping(db: Database, elastic: Elastic, events: int, rounds: int) -> dict[str, float]:
    pairs = [(daemon_drain_seconds(db, elastic, events, 0), daemon_drain_seconds(db, elastic, events, 10))
             for _ in range(rounds)]
    return {"seconds_unscraped": median(one for one, _ in pairs), "seconds_scraped": median(two for _, two in pairs),
            "ratio": median(one / two for one, two in pairs)}


def show(title: str, values: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, value in values.items():
        print(f"  {name:<30} {value:>12.2f}" if value < 1000 else f"  {name:<30} {value:>12,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15, help="of each latency measurement")
    parser.add_argument("--only-scraping", action="store_true", help="what reading the metrics costs, and nothing else")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench.json")
    options = parser.parse_args()

    results: dict[str, dict[str, float]] = {}
    with Postgres(settings={"shared_buffers": "1GB", "max_wal_size": "4GB"}, fsync=True) as postgres, \
            Elastic(heap="2g", java_options="") as elastic:
        db = postgres.createdb()
        if relay(db, elastic).run("init").exit_code != 0:
            raise RuntimeError("init failed")
        measure_drain(db, elastic, min(options.events, 100_000))  # warms up the Java side; not counted
        if options.only_scraping:
            show("drain by the daemon, /metrics read 10 times a second",
                 measure_scraping(db, elastic, options.events, options.rounds))
            return
        for title, settings in (("drain, keep", {}), ("drain, keep = 0", {"retention_keep": 0})):
            results[title] = medians([measure_drain(db, elastic, options.events, **settings)
                                      for _ in range(options.rounds)])
            show(f"{title} ({options.events:,} events, median of {options.rounds})", results[title])
        title = "drain by the daemon, /metrics read 10 times a second"
        results[title] = measure_scraping(db, elastic, options.events, options.rounds)
        show(title, results[title])
        for rate in (500, 2000):
            title = f"commit to readable, {rate} events/s"
            results[title] = measure_latency(db, elastic, rate, options.seconds)
            show(title, results[title])
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
