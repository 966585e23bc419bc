"""The servers, the relays and the networks between them, and who is in trouble when."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import Completed, Database, Elastic, FaultProxy, Outboxd, Postgres

from injector import Flights, Injector
from writers import DOCUMENT, HISTORY, INDEXES, MAPPINGS, Writers

PATIENCE = 17  # seconds until the server ends a silent session, at elasticsearch_timeout = 1s


class Unit:
    """One relay: the process, its way to PostgreSQL and its way to Elasticsearch."""

    def __init__(self, world: World, number: int, settings: dict[str, Any]) -> None:
        self.number = number
        self.max_rss_kb = 0
        self.problems: list[str] = []
        self.pg_net = FaultProxy(world.postgres.port)
        self.es_net = FaultProxy(world.elastic.port)
        self.injector = Injector(self.es_net.port, number, world.flights)
        self.daemon = Outboxd(postgres_dsn=world.db.dsn_with(port=self.pg_net.port),
                              elasticsearch_url=self.injector.url, **settings)
        self._log = world.logs / f"relay-{number}.log"
        self._lock = threading.Lock()
        self.stopped = False

    def start(self) -> None:
        self.daemon.start()

    def kill(self) -> None:
        with self._lock:
            self._end()
            self.daemon.start()

    def look(self) -> None:
        """Its memory; and an end that nobody asked for is a violation."""
        with self._lock:
            if self.daemon.is_alive:
                self.max_rss_kb = max(self.max_rss_kb, self.daemon.rss_kb())
                return
            done = self._keep(self.daemon.wait)
            if done is not None:
                self.problems.append(f"relay {self.number} ended by itself with exit code {done.exit_code}")
            self.daemon.start()

    def stop(self) -> None:
        """Drains; leaks are reported now."""
        with self._lock:
            if not self.daemon.is_alive:
                self.problems.append(f"relay {self.number} was not running in the end")
            done = self._keep(lambda: self.daemon.terminate(timeout=60))
            if done is not None and done.exit_code != 0:
                self.problems.append(f"relay {self.number} stopped with exit code {done.exit_code}")

    def close(self) -> None:
        with contextlib.suppress(AssertionError, RuntimeError):
            self.daemon.close()
        for each in (self.pg_net, self.injector, self.es_net):
            each.close()

    def save_log(self) -> None:
        if self.daemon.is_alive:
            self._append(self.daemon.stderr)

    def heal(self) -> None:
        self.injector.calm()
        for net in (self.pg_net, self.es_net):
            net.pass_all()
        if self.stopped:
            self.daemon.resume()
            self.stopped = False

    def _end(self) -> None:
        self._keep(self.daemon.kill9)

    def _keep(self, how: Any) -> Completed | None:
        """What ended: its log goes to the file, a report of a sanitizer or a bug_ line to the problems."""
        try:
            done: Completed = how()
        except (AssertionError, TimeoutError) as error:
            self.problems.append(f"relay {self.number}: {str(error)[:3000]}")
            self._append(self.daemon.stderr)
            return None
        self._append(done.stderr)
        self.problems += [f"relay {self.number}: {line}" for line in done.lines if line["event"].startswith("bug_")]
        return done

    def _append(self, text: str) -> None:
        with self._log.open("a") as file:
            file.write(text + "--- end of a process\n")


class Troubles:
    """Intervals in which a relay may lose its session without knowing it: then it may overlap with another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[tuple[int | None, float, float, str]] = []  # relay (None: all), from, to, what

    @contextlib.contextmanager
    def during(self, relay: int | None, what: str) -> Iterator[None]:
        began = time.monotonic()
        with self._lock:
            self._spans = [span for span in self._spans if span[2] > began - 120]
            self._spans.append((relay, began, began + 3600, what))
        try:
            yield
        finally:
            # Its consequences last as long as a request may still be under way.
            with self._lock:
                self._spans = [(r, a, time.monotonic() + 2 if (r, a, w) == (relay, began, what) else b, w)
                               for r, a, b, w in self._spans]

    def excuse(self, relay: int, since: float) -> str | None:
        with self._lock:
            for who, began, ended, what in self._spans:
                if who in (None, relay) and began <= time.monotonic() and ended >= since - 1:
                    return what
        return None


class Gate:
    """Faults enter together; what must be alone waits until they have left, and keeps new ones out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextlib.contextmanager
    def together(self) -> Iterator[bool]:
        with self._changed:
            entered = self._changed.wait_for(lambda: not self._closed, 5)
            self._inside += entered
        try:
            yield entered
        finally:
            with self._changed:
                self._inside -= entered
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self, timeout: float) -> Iterator[bool]:
        with self._changed:
            first = not self._closed
            self._closed = True
            entered = first and self._changed.wait_for(lambda: self._inside == 0, timeout)
        try:
            yield entered
        finally:
            with self._changed:
                if first:
                    self._closed = False
                    self._changed.notify_all()


class World:
    indexes: dict[str, Any] = dict.fromkeys(INDEXES, MAPPINGS)

    def __init__(self, logs: Path, seed: int, relays: int, rates: tuple[float, float], settings: dict[str, Any]) -> None:
        self.logs = logs
        self.settings = settings
        self.tombstones = settings["outbox_deletes"] == "tombstone"
        self.keep = settings["retention_keep"] != "0"
        self.postgres = Postgres({"log_min_messages": "warning", "shared_buffers": "512MB"})
        self.elastic = Elastic()
        self.troubles = Troubles()
        self.flights = Flights(self.troubles.excuse)
        self.gate = Gate()
        self.es_epoch = 0  # counts kills of Elasticsearch: what was read but not acknowledged may be gone
        self.units: list[Unit] = []
        self._seed, self._relays, self._rates = seed, relays, rates

    def start(self) -> None:
        self.elastic.start(wait=False)
        self.postgres.start()
        self.db: Database = self.postgres.createdb("campaign")
        self.operator = Outboxd(postgres_dsn=self.db.dsn, elasticsearch_url=self.elastic.url, **self.settings)
        done = self.operator.run("init", *(["--notify"] if self._seed % 2 else []))
        if done.exit_code != 0:
            raise RuntimeError(f"init failed:\n{done.stderr}")
        self.elastic.wait_started()
        for index, mappings in self.indexes.items():
            self.elastic.create_index(index, mappings)
        self.writers = self.prepare()
        self.units = [Unit(self, n, self.settings) for n in range(1, self._relays + 1)]
        for unit in self.units:
            unit.start()

    def prepare(self) -> Writers:
        """The application: its tables, and who writes."""
        self.db.execute(HISTORY)
        return Writers(self.db, self._seed, *self._rates)

    def pending(self) -> int:
        return int(self.db.value("SELECT count(*) FROM outbox WHERE NOT processed AND dead_at IS NULL"))

    def heal(self) -> None:
        for unit in self.units:
            unit.heal()
        self.postgres.ensure_running()
        self.elastic.ensure_running()
        for index in self.indexes:
            self.elastic.call("POST", f"/{index}/_open")
            self.unblock(index)
        for unit in self.units:
            unit.look()

    def unblock(self, index: str) -> None:
        self.elastic.call("PUT", f"/{index}/_settings",
                          {"index.blocks.write": None, "index.blocks.read_only_allow_delete": None})

    def save_logs(self) -> None:
        for unit in self.units:
            unit.save_log()
        for name, file in (("postgres", self.postgres.log_file), ("elasticsearch", self.elastic.log_file)):
            with contextlib.suppress(OSError):
                (self.logs / f"{name}.log").write_bytes(file.read_bytes()[-5_000_000:])

    def close(self) -> None:
        for unit in self.units:
            unit.close()
        self.elastic.close()
        self.postgres.close()

    def end(self, faults: list[str], keep_logs: bool) -> None:
        """Closes everything; the logs stay where something went wrong."""
        (self.logs / "faults.log").write_text("\n".join(faults) + "\n")
        self.save_logs()
        self.close()
        if keep_logs:
            print(f"logs: {self.logs}")
        else:
            shutil.rmtree(self.logs, ignore_errors=True)


def settings_of(deletes: str, keep: str, workers: int, compression: str, rows: int, level: str) -> dict[str, Any]:
    return {
        "outbox_document": DOCUMENT,
        "outbox_deletes": deletes,
        "elasticsearch_timeout": "1s",
        "elasticsearch_compression": compression,
        "relay_workers": workers,
        "relay_batch_rows": rows,
        "retry_base": "50ms",
        "retry_cap": "2s",
        "retention_keep": keep,
        "log_level": level,
    }
