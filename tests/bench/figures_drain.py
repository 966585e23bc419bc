"""The figures of a drain into a real Elasticsearch, and of an event's way there."""

from __future__ import annotations

import time
from functools import cache

import bench
from figures_lab import Lab, Values
from harness import Database, Elastic
from release import fine, relay

EVENTS, MANY_EVENTS = 200_000, 2_000_000
LARGE_BYTES, LARGE_DOCUMENTS = 1 << 20, 300
LATENCY_SECONDS = 30
KEEP: dict[str, object] = {}
KEEP_0: dict[str, object] = {"retention_keep": 0}


def _measure(lab: Lab, events: int, settings: dict[str, object]) -> Values:
    elastic = lab.elastic
    with lab.database() as db:
        return lab.medians(lambda: bench.measure_drain(db, elastic, lab.scaled(events), **settings))


@cache  # cpu and rss are of the same drains
def drain(lab: Lab) -> Values:
    return _measure(lab, EVENTS, KEEP)


@cache
def drain0(lab: Lab) -> Values:
    return _measure(lab, EVENTS, KEEP_0)


def large(lab: Lab) -> Values:
    found = {"keep": _measure(lab, MANY_EVENTS, KEEP), "keep0": _measure(lab, MANY_EVENTS, KEEP_0)}
    return {f"{mode}_{name}": value for mode, values in found.items() for name, value in values.items()}


def cpu(lab: Lab) -> Values:
    return {"keep_s_per_100k": drain(lab)["own_cpu_s_per_100k"], "keep0_s_per_100k": drain0(lab)["own_cpu_s_per_100k"]}


def rss(lab: Lab) -> Values:
    return {"keep_mb": drain(lab)["peak_rss_mb"], "keep0_mb": drain0(lab)["peak_rss_mb"]}


def rss1mb(lab: Lab) -> Values:
    elastic, documents = lab.elastic, lab.scaled(LARGE_DOCUMENTS, least=20)

    def measure(db: Database) -> Values:
        with db.connect() as connection:
            bench.fill(connection, documents, document_bytes=LARGE_BYTES)
        bench.fresh_index(elastic)
        done = bench.drain(db, elastic, documents)
        return {"peak_mb": done.peak_rss_kb / 1024, "documents_s": documents / done.seconds}

    with lab.database() as db:
        return lab.medians(lambda: measure(db))


def latencies(lab: Lab) -> Values:
    elastic, seconds = lab.elastic, lab.scaled(LATENCY_SECONDS, least=5)
    found = {}
    with lab.database("--notify") as db:
        bench.warm_up_latency(db, elastic, seconds)
        for rate in (500, 2000):
            values = lab.medians(lambda: bench.measure_latency(db, elastic, rate, seconds))
            found |= {f"{name}_at_{rate}": value for name, value in values.items()}
    return found


def hot(lab: Lab) -> Values:
    """Updates of few documents, all of them pending when the relay starts; Elasticsearch counts what it was sent."""
    elastic, events, keys = lab.elastic, lab.scaled(1_000_000), lab.scaled(1_000)

    def measure(db: Database) -> Values:
        with db.connect() as connection:
            bench.fill(connection, events, keys=keys)
        bench.fresh_index(elastic)
        done = bench.drain(db, elastic, keys)
        counts = elastic.call("GET", f"/{bench.INDEX}/_stats/indexing")["_all"]["primaries"]["indexing"]
        sent = counts["index_total"] + counts["index_failed"]
        return {"sent_per_event": sent / events, "documents_sent": sent, "events_s": events / done.seconds}

    with lab.database() as db:
        return lab.medians(lambda: measure(db))


def _together(db: Database, elastic: Elastic, relays: int, events: int) -> float:
    """Events a second of so many relays that drain one table."""
    with db.connect() as connection:
        bench.fill(connection, events)
    bench.fresh_index(elastic)
    started = [relay(db, elastic) for _ in range(relays)]
    began = time.monotonic()
    for each in started:
        each.begin("run", "--once")
    for each in started:
        fine(each.wait(3600))
    seconds = time.monotonic() - began
    bench.check_arrived(elastic, events)
    return events / seconds


def _several(lab: Lab, relays: int) -> Values:
    elastic, events = lab.elastic, lab.scaled(EVENTS)

    def measure(db: Database) -> Values:
        alone, together = _together(db, elastic, 1, events), _together(db, elastic, relays, events)
        return {"rate_to_one": together / alone, "one_events_s": alone, "together_events_s": together}

    with lab.database() as db:
        return lab.medians(lambda: measure(db))


def two(lab: Lab) -> Values:
    return _several(lab, 2)


def four(lab: Lab) -> Values:
    return _several(lab, 4)
