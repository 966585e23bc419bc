"""The figures of the relay and PostgreSQL: rest, claims and backlogs. Where the null sink is the target, nothing else is
measured but these two."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import bench
from figures_lab import Lab, Values
from harness import Database, insert_events, wait_until
from harness.statements import statements, transactions
from release import Running, fine, relay, running, wrapped

SMALL_BATCH, BATCHES, BATCHES_FIRST = 100, 60, 10
EVENTS_A_TRANSACTION = 10_000  # a writer that stays open for long would be a second holder: see docs/PERFORMANCE.md


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
        bench.add(writer, rows, at_once=EVENTS_A_TRANSACTION)
        daemon.wait_settled(settled + rows)
        rate = rows / (time.monotonic() - began)
        writer.execute("CHECKPOINT")
        later = _claims_ms(db, daemon)
        holder.execute("ROLLBACK")
    return {"to_first": median(later) / median(first), "first_ms": median(first), "pinned_ms": median(later),
            "pinned_slowest_ms": max(later), "written_and_drained_events_s": rate}


def _rates(db: Database, lab: Lab, events: int) -> Values:
    """Events a second from the start on, and of as many more once the daemon has counted the table, which it does as it starts."""
    began = time.monotonic()
    with running(db, lab.sink) as daemon:
        wait_until(lambda: "outboxd_pending_events" in daemon.metrics(), 60, "the table to be counted", every=0.005)
        counted = time.monotonic() - began
        daemon.wait_settled(events)
        before, middle = daemon.settled(), time.monotonic()
        daemon.wait_settled(before + events)
        after, end = daemon.settled(), time.monotonic()
    return {"events_s": (after - before) / (end - middle), "from_the_start_events_s": before / (middle - began),
            "counted_after_s": counted}


def deep(lab: Lab) -> Values:
    """Through the sink, the same number of events each time, of a small backlog and of a large one; in turn, so that both find
    the same machine."""
    events = lab.scaled(100_000)

    def measure(shallow: Database, backlog: Database) -> Values:
        with shallow.connect() as connection:
            bench.fill(connection, 3 * events)
        few = _rates(shallow, lab, events)
        with backlog.connect() as connection:
            bench.tidy(connection)
        many = _rates(backlog, lab, events)
        return ({"rate_to_shallow": many["events_s"] / few["events_s"]} | {f"shallow_{name}": value for name, value in few.items()}
                | {f"deep_{name}": value for name, value in many.items()})

    with lab.database() as shallow, lab.database() as backlog:
        with backlog.connect() as connection:
            bench.fill(connection, lab.scaled(10_000_000))
        return bench.medians([measure(shallow, backlog) for _ in range(max(5, lab.rounds))])


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
