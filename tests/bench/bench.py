"""Measures outboxd beside the ceiling of the same box, in one run, as ratios and medians.

Timing says nothing across machines or runs; the shares do. No test depends on these numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from statistics import median

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ceiling  # noqa: E402
import latency  # noqa: E402
from harness import Completed, Database, Elastic, Postgres, insert_events  # noqa: E402
from harness.workload import DOCUMENT_BYTES, MAPPINGS  # noqa: E402
from release import ROOT, fine, relay, running  # noqa: E402

INDEX = "products"
EVENTS_A_STATEMENT = 500_000  # millions in one would need as much disk again for its sort


def postgres() -> Postgres:
    return Postgres(settings={"shared_buffers": "1GB", "max_wal_size": "4GB"}, fsync=True)


def elasticsearch() -> Elastic:
    return Elastic(heap="2g", java_options="")


def fresh_index(elastic: Elastic) -> None:
    elastic.delete_index(INDEX)
    elastic.create_index(INDEX, MAPPINGS)


def add(connection: psycopg.Connection, events: int, keys: int | None = None, document_bytes: int = DOCUMENT_BYTES,
        at_once: int = EVENTS_A_STATEMENT) -> None:
    for first in range(1, events + 1, at_once):
        insert_events(connection, min(at_once, events + 1 - first), keys=keys, first=first, index=INDEX,
                      document_bytes=document_bytes)


def tidy(connection: psycopg.Connection) -> None:
    """So that what was prepared costs nothing of what is measured."""
    connection.execute("VACUUM ANALYZE outbox")
    connection.execute("CHECKPOINT")


def fill(connection: psycopg.Connection, events: int, keys: int | None = None, document_bytes: int = DOCUMENT_BYTES) -> None:
    connection.execute("TRUNCATE outbox")
    add(connection, events, keys, document_bytes)
    tidy(connection)


def check_arrived(elastic: Elastic, documents: int) -> None:
    elastic.refresh(INDEX)
    if (found := elastic.count(INDEX)) != documents:
        raise RuntimeError(f"{found} of {documents} documents arrived")


def drain(db: Database, elastic: Elastic, documents: int, **settings: object) -> Completed:
    """All that is pending, into a fresh index, where so many documents must be in the end."""
    done = fine(relay(db, elastic, **settings).run_once(timeout=3600))
    check_arrived(elastic, documents)
    return done


def measure_drain(db: Database, elastic: Elastic, events: int, **settings: object) -> dict[str, float]:
    """One drain of `events` pending events, and the ceiling just before it. share_if_busy: what the share would be if either kept
    all processors busy all the time; no pace of the relay's can bring more."""
    with db.connect() as connection:
        fill(connection, events)
        fresh_index(elastic)
        bodies = ceiling.bodies(connection, INDEX, events)
    elastic_before, poster_before = elastic.cpu_seconds(), time.process_time()
    ceiling_seconds = ceiling.measure(elastic, bodies)
    ceiling_cpu = elastic.cpu_seconds() - elastic_before + time.process_time() - poster_before
    fresh_index(elastic)
    postgres_before, elastic_before = db.server.cpu_seconds(), elastic.cpu_seconds()
    done = drain(db, elastic, events, **settings)
    postgres_cpu, elastic_cpu = db.server.cpu_seconds() - postgres_before, elastic.cpu_seconds() - elastic_before
    share = 100_000 / events
    return {
        "ceiling_events_s": events / ceiling_seconds,
        "drain_events_s": events / done.seconds,
        "share_of_ceiling": ceiling_seconds / done.seconds,
        "share_if_busy": ceiling_cpu / (done.cpu_seconds + postgres_cpu + elastic_cpu),
        "ceiling_cpu_s_per_100k": ceiling_cpu * share,
        "own_cpu_s_per_100k": done.cpu_seconds * share,
        "postgres_cpu_s_per_100k": postgres_cpu * share,
        "elasticsearch_cpu_s_per_100k": elastic_cpu * share,
        "peak_rss_mb": done.peak_rss_kb / 1024,
    }


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


def _nothing_waits(db: Database, elastic: Elastic) -> None:
    fresh_index(elastic)
    elastic.call("PUT", f"/{INDEX}/_mapping", {"dynamic": "true", "properties": {"n": {"type": "integer"}}})
    with db.connect() as connection:
        connection.execute("TRUNCATE outbox")


def measure_latency(db: Database, elastic: Elastic, rate: int, seconds: int) -> dict[str, float]:
    """With the relay, and just before without one: Elasticsearch's part of the way, on this box with this writer."""
    _nothing_waits(db, elastic)
    with latency.NoRelay(elastic.url, INDEX).posting() as instead:
        least = latency.measure(db, elastic.url, INDEX, rate, seconds, instead)
    _nothing_waits(db, elastic)
    fine(relay(db, elastic).run("init", "--notify"))
    with running(db, elastic) as daemon:
        daemon.wait_wakeups()
        found = latency.measure(db, elastic.url, INDEX, rate, seconds)
    return {"p50_ms": found.percentile(0.5), "p99_ms": found.percentile(0.99), "no_relay_p50_ms": least.percentile(0.5),
            "no_relay_p99_ms": least.percentile(0.99), "samples": float(len(found.sorted_ms)), "written_events_s": found.written_s}


def warm_up_latency(db: Database, elastic: Elastic, seconds: int) -> None:
    """The Java side takes a minute of small requests until it answers them as fast as it can; drains do not help. Not counted."""
    measure_latency(db, elastic, 500, seconds)


def daemon_drain_seconds(db: Database, elastic: Elastic, events: int, scrapes_a_second: int) -> float:
    """A daemon meets a backlog, while somebody reads its metrics."""
    with db.connect() as connection:
        fill(connection, events)
    fresh_index(elastic)
    stop = threading.Event()

    def scrape() -> None:
        while not stop.wait(1 / scrapes_a_second):
            assert "outboxd_pending_events" in daemon.scrape()

    scraper = threading.Thread(target=scrape)
    began = time.monotonic()
    with running(db, elastic) as daemon:
        try:
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
    with postgres() as server, elasticsearch() as elastic:
        db = server.createdb()
        fine(relay(db, elastic).run("init"))
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
        warm_up_latency(db, elastic, options.seconds)
        for rate in (500, 2000):
            title = f"commit to readable, {rate} events/s"
            results[title] = measure_latency(db, elastic, rate, options.seconds)
            show(title, results[title])
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
