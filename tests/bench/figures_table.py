"""The figures of the relay and PostgreSQL: rest, claims, backlogs and purges. Where the null sink is the target, nothing else is
measured but these two."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import psycopg

import bench
from figures_lab import Lab, Values
from harness import Database, Elastic, insert_events
from release import Running, fine, relay, running, wrapped
from sink import Sink
from statements import statements, transactions

SMALL_BATCH, BATCHES, BATCHES_FIRST = 100, 60, 10
STEADY_RATE, STEADY_EVENTS = 20_000, 10_000  # events/s of the writer, and of one of its transactions


def idle(lab: Lab) -> Values:
    """Nothing to do, a while after the last event. The keeper's looks count as well."""
    seconds = lab.scaled(60, least=10)
    elastic = lab.elastic
    with lab.database("--notify") as db, running(db, elastic) as daemon:
        bench.fresh_index(elastic)
        daemon.wait_wakeups()
        with db.connect() as connection:
            insert_events(connection, 1000, index=bench.INDEX)
        daemon.wait_settled(1000)
        time.sleep(lab.scaled(20, least=5))
        with statements(db.server) as asked:
            cpu, began = daemon.outboxd.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            cpu, took = daemon.outboxd.cpu_seconds() - cpu, time.monotonic() - began
    return {"cpu_percent": 100 * cpu / took, "transactions_s": len(transactions(asked)) / took,
            "statements_s": sum(one.is_run for one in asked) / took}


def _claims_ms(db: Database, daemon: Running) -> list[float]:
    """What the server needed for each claim of small batches that come one by one: for finding lanes and rows, plans included."""
    settled = daemon.settled()
    with db.connect() as connection, statements(db.server) as asked:
        for number in range(1, BATCHES_FIRST + BATCHES + 1):
            insert_events(connection, SMALL_BATCH, index=bench.INDEX)
            daemon.wait_settled(settled + number * SMALL_BATCH, every=0.002)
            time.sleep(0.02)
    claims = [sum(one.ms for one in steps if "pg_try_advisory_xact_lock" in one.text or "SKIP LOCKED" in one.text)
              for steps in transactions(asked).values() if any("SET processed = true" in one.text for one in steps)]
    if len(claims) < BATCHES_FIRST + BATCHES:
        raise RuntimeError(f"the log has {len(claims)} claims of {BATCHES_FIRST + BATCHES} batches")
    return claims[BATCHES_FIRST:]


def pinned(lab: Lab) -> Values:
    """One relay all along. Its first claims, then those after many rows that no vacuum may remove."""
    rows = lab.scaled(5_000_000)
    with lab.database("--notify") as db, running(db, lab.sink) as daemon, db.connect() as holder, db.connect() as writer:
        daemon.wait_wakeups()
        first = _claims_ms(db, daemon)
        holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM outbox")
        settled, began = daemon.settled(), time.monotonic()
        bench.add(writer, rows)
        daemon.wait_settled(settled + rows)
        rate = rows / (time.monotonic() - began)
        writer.execute("CHECKPOINT")
        later = _claims_ms(db, daemon)
        holder.execute("ROLLBACK")
    return {"to_first": median(later) / median(first), "first_ms": median(first), "pinned_ms": median(later),
            "pinned_slowest_ms": max(later), "written_and_drained_events_s": rate}


def _rate(db: Database, target: Elastic | Sink, events: int, **settings: object) -> tuple[float, dict[str, float]]:
    """Events a second of the first so many, from the start of the daemon on; its metrics then."""
    began = time.monotonic()
    with running(db, target, **settings) as daemon:
        daemon.wait_settled(events)
        return daemon.settled() / (time.monotonic() - began), daemon.metrics()


def deep(lab: Lab) -> Values:
    """Through the sink, the same number of events each time: of a small backlog all, of a large one the first; in turn, so that
    both find the same machine."""
    events = lab.scaled(100_000)

    def measure(shallow: Database, backlog: Database) -> Values:
        with shallow.connect() as connection:
            bench.fill(connection, events)
        few = _rate(shallow, lab.sink, events)[0]
        with backlog.connect() as connection:
            bench.tidy(connection)
        many = _rate(backlog, lab.sink, events)[0]
        return {"rate_to_shallow": many / few, "shallow_events_s": few, "deep_events_s": many}

    with lab.database() as shallow, lab.database() as backlog:
        with backlog.connect() as connection:
            bench.fill(connection, lab.scaled(10_000_000))
        return bench.medians([measure(shallow, backlog) for _ in range(max(5, lab.rounds))])


def _fill_with_old(connection: psycopg.Connection, old: int, pending: int) -> None:
    """Rows that were delivered an hour ago, and those that wait."""
    connection.execute("TRUNCATE outbox")
    bench.add(connection, old)
    connection.execute("UPDATE outbox SET processed = true, processed_at = now() - interval '1 hour', "
                       "created_at = now() - interval '1 hour'")
    connection.execute("VACUUM FULL outbox")
    bench.add(connection, pending)
    bench.tidy(connection)


def _beside_a_purge(lab: Lab, db: Database) -> Values:
    """Drains into Elasticsearch of the same table, without a purge and with one that finds old rows all along."""
    elastic, events = lab.elastic, lab.scaled(500_000, least=100_000)

    def measure(**settings: object) -> tuple[float, float]:
        with db.connect() as connection:
            _fill_with_old(connection, events, events)
        bench.fresh_index(elastic)
        rate, metrics = _rate(db, elastic, events, **settings)
        return rate, metrics["outboxd_purged_rows_total"]

    without, _ = measure()
    beside, purged = measure(retention_keep="1s", retention_interval="1s")
    return {"rate_to_without": beside / without, "without_events_s": without, "beside_events_s": beside, "purged_meanwhile": purged}


def _steady(lab: Lab, db: Database) -> Values:
    """A writer at a steady rate through the sink, rows kept for seconds only: whether the table's second half of the time is as
    its first. The vacuum is PostgreSQL's own, at its defaults."""
    events = lab.scaled(5_000_000, least=200_000)
    sizes: list[int] = []
    dead: list[int] = []
    with running(db, lab.sink, retention_keep=f"{lab.scaled(10)}s", retention_interval="1s") as daemon, db.connect() as writer:
        began = time.monotonic()
        for first in range(1, events + 1, STEADY_EVENTS):
            insert_events(writer, STEADY_EVENTS, first=first, index=bench.INDEX)
            size, dead_rows = writer.execute("SELECT pg_total_relation_size('outbox'), n_dead_tup FROM pg_stat_user_tables "
                                             "WHERE relid = 'outbox'::regclass").fetchone()
            sizes.append(size)
            dead.append(dead_rows)
            time.sleep(max(0.0, began + (first + STEADY_EVENTS) / STEADY_RATE - time.monotonic()))
        rate = events / (time.monotonic() - began)
        daemon.wait_settled(events)
    half = len(sizes) // 2
    return {"size_growth": max(sizes[half:]) / max(sizes[:half]), "dead_growth": max(dead[half:]) / max(1, *dead[:half]),
            "steady_events_s": rate, "peak_size_mb": max(sizes) / 2**20, "peak_dead_rows": max(dead)}


def purge(lab: Lab) -> Values:
    with lab.database("--notify") as db:
        beside = lab.medians(lambda: _beside_a_purge(lab, db))
    with lab.database("--notify") as db:
        return beside | _steady(lab, db)


def _cycles(report: str) -> float | None:
    """Of what `perf stat -x,` writes; None where the machine, or its administrator, does not let one count."""
    rows = (line.split(",") for line in report.splitlines() if "cycles" in line)
    return next((float(row[0]) for row in rows if row[0].isdigit()), None)


def _perf_works() -> bool:
    try:
        done = subprocess.run(["perf", "stat", "-x,", "-e", "cycles", "true"], capture_output=True, text=True)
    except FileNotFoundError:
        return False
    return _cycles(done.stderr) is not None


def sink(lab: Lab) -> Values:
    events, counted = lab.scaled(500_000), _perf_works()

    def measure(db: Database, folder: Path) -> Values:
        report = folder / "perf"
        watched = {"binary": wrapped(folder, "perf", "stat", "-x,", "-e", "cycles", "-o", str(report))} if counted else {}
        with db.connect() as connection:
            bench.fill(connection, events)
        postgres = db.server.cpu_seconds()
        done = fine(relay(db, lab.sink, **watched).run_once(timeout=3600))
        share = 100_000 / events
        cycles = _cycles(report.read_text()) if counted else None
        return {"events_s": events / done.seconds, "own_cpu_s_per_100k": done.cpu_seconds * share,
                "postgres_cpu_s_per_100k": (db.server.cpu_seconds() - postgres) * share
                } | ({} if cycles is None else {"cycles_per_event": cycles / events})

    with lab.database() as db, tempfile.TemporaryDirectory() as folder:
        return lab.medians(lambda: measure(db, Path(folder)))
