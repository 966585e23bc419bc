"""The release build: run to its end, or beside a measurement, with what it says of itself."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Completed, Database, Elastic, Outboxd, wait_until
from harness.ports import HOST, free_port
from sink import Sink

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "release"
BINARY = BUILD / "src" / "cmd" / "outboxd"
SINK = BUILD / "tests" / "bench" / "outboxd_sink"


def relay(db: Database, target: Elastic | Sink, binary: Path = BINARY, **settings: object) -> Outboxd:
    return Outboxd(binary_path=binary, postgres_dsn=db.dsn, elasticsearch_url=target.url, **settings)


def fine(done: Completed, expect: int = 0) -> Completed:
    if done.exit_code != expect:
        raise RuntimeError(f"ended with {done.exit_code}: {done.stderr[-2000:]}")
    return done


def wrapped(folder: Path, *prefix: str) -> Path:
    """The program behind another one that watches it."""
    wrapper = folder / "watched"
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(prefix)} {BINARY} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


class Running:
    """A daemon and its metrics: asking the table would be part of what is measured."""

    def __init__(self, outboxd: Outboxd, port: int) -> None:
        self.outboxd, self._port = outboxd, port

    def scrape(self) -> str:
        with urllib.request.urlopen(f"http://{HOST}:{self._port}/metrics", timeout=30) as answer:
            return answer.read().decode()

    def metrics(self) -> dict[str, float]:
        """By name, with labels as they are printed."""
        lines = (line.rpartition(" ") for line in self.scrape().splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def settled(self) -> int:
        """Events that were delivered, or replaced by a newer one that was."""
        found = self.metrics()
        return round(sum(found[f'outboxd_events_total{{verdict="{verdict}"}}'] for verdict in ("delivered", "superseded")))

    def wait_settled(self, events: int, timeout: float = 3600, every: float = 0.01) -> None:
        wait_until(lambda: self.settled() >= events, timeout, f"{events} events delivered", every)

    def wait_wakeups(self) -> None:
        self.outboxd.wait_log("wakeups_work", timeout=30)


@contextmanager
def running(db: Database, target: Elastic | Sink, **settings: object) -> Iterator[Running]:
    port = free_port()
    daemon = relay(db, target, admin_listen=f"{HOST}:{port}", **settings)
    daemon.start()
    try:
        daemon.wait_log("admin_listens", timeout=30)
        yield Running(daemon, port)
    finally:
        daemon.terminate()
        daemon.close()


def daemon_rate(db: Database, target: Elastic | Sink, events: int, **settings: object) -> tuple[float, dict[str, float]]:
    """Events a second of the first so many, from the start of the daemon on; its metrics then."""
    began = time.monotonic()
    with running(db, target, **settings) as daemon:
        daemon.wait_settled(events)
        return daemon.settled() / (time.monotonic() - began), daemon.metrics()
