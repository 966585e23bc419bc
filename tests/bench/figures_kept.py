"""The figures of what a table keeps of delivered events: deleted row by row, or dropped with their partition."""

from __future__ import annotations

import time

import psycopg

import bench
from figures_drain import EVENTS
from figures_lab import Lab, Values
from harness import Database, insert_events
from release import daemon_rate, running

STEADY_RATE, STEADY_EVENTS = 20_000, 10_000  # events/s of the writer, and of one of its transactions
PARTITION_ROWS = 200_000  # what that writer fills in 10 s, for as long as its rows are kept
TREE = "SELECT 'outbox'::regclass AS relid UNION SELECT relid FROM pg_partition_tree('outbox')"
LOOK = f"""SELECT (SELECT sum(pg_total_relation_size(relid))::bigint FROM ({TREE}) AS tree),
                  (SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables WHERE relid IN ({TREE}))"""


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
        rate, metrics = daemon_rate(db, elastic, events, **settings)
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
    postgres_before = db.server.cpu_seconds()
    with running(db, lab.sink, retention_keep=f"{lab.scaled(10)}s", retention_interval="1s") as daemon, db.connect() as writer:
        began = time.monotonic()
        for first in range(1, events + 1, STEADY_EVENTS):
            insert_events(writer, STEADY_EVENTS, first=first, index=bench.INDEX)
            size, dead_rows = writer.execute(LOOK).fetchone()
            sizes.append(size)
            dead.append(dead_rows)
            time.sleep(max(0.0, began + (first + STEADY_EVENTS) / STEADY_RATE - time.monotonic()))
        took = time.monotonic() - began
        daemon.wait_settled(events)
    half = len(sizes) // 2
    return {"size_growth": max(sizes[half:]) / max(sizes[:half]), "dead_growth": max(dead[half:]) / max(1, *dead[:half]),
            "steady_events_s": events / took, "peak_size_mb": max(sizes) / 2**20, "peak_dead_rows": max(dead),
            "postgres_cpu_s_per_100k": (db.server.cpu_seconds() - postgres_before) * 100_000 / events}


def purge(lab: Lab) -> Values:
    with lab.database("--notify") as db:
        beside = lab.medians(lambda: _beside_a_purge(lab, db))
    with lab.database("--notify") as db:
        return beside | _steady(lab, db)


def partitions(lab: Lab) -> Values:
    """Drains of a plain and a partitioned table in turn, and the partitioned one at a steady rate as the purge's."""
    events = lab.scaled(EVENTS)
    options = "--notify", "--partitioned", "--partition-rows", str(lab.scaled(PARTITION_ROWS, least=50_000))

    def drained(db: Database) -> float:
        with db.connect() as connection:
            bench.fill(connection, events)
        bench.fresh_index(lab.elastic)
        return events / bench.drain(db, lab.elastic, events).seconds

    def measure(plain: Database, partitioned: Database) -> Values:
        one, other = drained(plain), drained(partitioned)
        return {"rate_to_plain": other / one, "plain_events_s": one, "partitioned_events_s": other}

    with lab.database() as plain, lab.database(*options) as partitioned:
        beside = lab.medians(lambda: measure(plain, partitioned))
    with lab.database(*options) as db:
        return beside | _steady(lab, db)
