"""A seeded schedule of faults, and what each of them does."""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from harness import ElasticError
from harness.fault_proxy import FaultProxy

from injector import clock
from world import PATIENCE, Unit, World
from writers import INDEXES, document_id, make_document, publish

# What a fault may meet because another one is at work.
MISHAPS = (psycopg.Error, OSError, ElasticError, http.client.HTTPException, RuntimeError, TimeoutError)
GAP = 1.3  # seconds between two faults, on average


class Busy(Exception):
    """Another fault has what this one needs."""


@dataclass(frozen=True)
class Planned:
    at: float
    kind: str
    number: int  # seeds what this one decides


class Faults:
    def __init__(self, world: World, seed: int, seconds: float, strict: bool, without: list[str]) -> None:
        self.done: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.log: list[str] = []
        self._world = world
        self._seed = seed
        self._strict = strict
        self._stop = threading.Event()
        self._hurry = threading.Event()  # somebody waits to be alone
        self._locks: dict[Any, threading.Lock] = {}
        self._guard = threading.Lock()
        self._began = 0.0
        self._threads: list[threading.Thread] = []
        self.plan = [planned for planned in make_plan(seed, seconds) if planned.kind not in without]

    def run(self) -> None:
        self._began = time.monotonic()
        for planned in self.plan:
            time.sleep(max(0.0, self._began + planned.at - time.monotonic()))
            thread = threading.Thread(target=self._one, args=(planned,), daemon=True)
            thread.start()
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    # -- inside

    def _one(self, planned: Planned) -> None:
        rng = random.Random(f"{self._seed} fault {planned.number}")
        act, forgets = KINDS[planned.kind][1:]
        careful = forgets and not self._world.tombstones and not self._strict
        try:
            with self._alone() if careful else self._together():
                self._note(planned, "begins")
                act(self, rng)
            self.done[planned.kind] += 1
            self._note(planned, "ended")
        except Busy as busy:
            self.skipped[planned.kind] += 1
            self._note(planned, f"skipped: {busy}")
        except MISHAPS as error:
            self.skipped[planned.kind] += 1
            self._note(planned, f"failed: {type(error).__name__}: {str(error)[:200]}")

    def _rest(self, seconds: float) -> None:
        """As long as a fault lasts; cut short at the end, and for what must be alone."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stop.is_set() and not self._hurry.is_set():
            time.sleep(min(0.05, max(0.0, deadline - time.monotonic())))

    def _note(self, planned: Planned, what: str) -> None:
        self.log.append(f"{clock()} {time.monotonic() - self._began:8.3f} #{planned.number} {planned.kind} {what}")

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        with self._world.gate.together() as entered:
            if not entered:
                raise Busy("a fault that must be alone")
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """With deletes = delete a forgotten tombstone is only safe when nothing of the past is under way: no request that
        its sender gave up, no event behind a lane's lower bound. docs/MODEL.md: late-request, bound."""
        world = self._world
        with contextlib.ExitStack() as held:
            self._hurry.set()
            try:
                if not held.enter_context(world.gate.alone(30)):
                    raise Busy("other faults")
            finally:
                self._hurry.clear()
            world.writers.hold()
            try:
                deadline = time.monotonic() + 40
                while world.pending() > 0:
                    if time.monotonic() > deadline or self._stop.is_set():
                        raise Busy("the queue is not at rest")
                    time.sleep(0.1)
                time.sleep(1.5)
                yield
            finally:
                world.writers.go_on()

    @contextlib.contextmanager
    def _own(self, *names: Any) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            for name in names:
                with self._guard:
                    lock = self._locks.setdefault(name, threading.Lock())
                if not lock.acquire(blocking=False):
                    raise Busy(f"{name}")
                held.callback(lock.release)
            yield

    def _unit(self, rng: random.Random) -> Unit:
        return rng.choice(self._world.units)

    # -- relays

    def kill_relay(self, rng: random.Random) -> None:
        unit = self._unit(rng)
        with self._own(unit):
            unit.kill()

    def freeze_relay(self, rng: random.Random) -> None:
        unit = self._unit(rng)
        long = rng.random() < 0.25
        seconds = rng.uniform(PATIENCE + 1, PATIENCE + 8) if long else rng.uniform(0.2, 4)
        with self._own(unit), self._world.troubles.during(unit.number, "frozen"):
            unit.stopped = True
            unit.daemon.signal(signal.SIGSTOP)
            self._rest(seconds)
            unit.daemon.signal(signal.SIGCONT)
            unit.stopped = False

    # -- networks

    def pg_net(self, rng: random.Random) -> None:
        unit = self._unit(rng)
        with self._own(unit.pg_net), self._world.troubles.during(unit.number, "network to PostgreSQL"):
            self._disturb(unit.pg_net, rng)

    def es_net(self, rng: random.Random) -> None:
        unit = self._unit(rng)
        with self._own(unit.es_net):
            self._disturb(unit.es_net, rng)

    def _disturb(self, net: FaultProxy, rng: random.Random) -> None:
        how = rng.choice(["refuse", "stall", "delay", "bytes", "exchange", "exchange", "black_hole", "reset"])
        seconds = rng.choice([rng.uniform(0.1, 1), rng.uniform(1, 5), rng.uniform(3, 12)])
        if how == "refuse":
            net.refuse()
        elif how == "stall":
            net.stall()
        elif how == "delay":
            net.delay(rng.choice([0.005, 0.05, 0.3, 0.9]))
        elif how == "bytes":
            net.cut_after(rng.choice([0, 1, rng.randrange(2000), rng.randrange(200_000)]), rng.choice(["up", "down"]))
        elif how == "exchange":
            net.cut_exchange(rng.randrange(1, 30), rng.choice(["request", "response"]))
        elif how == "black_hole":
            net.black_hole()
        else:
            net.reset_all()
        self._rest(seconds)
        if how == "black_hole":
            net.reset_all()  # what it swallowed is lost: its connections are of no use
        net.pass_all()

    def overload(self, rng: random.Random) -> None:
        unit = self._unit(rng)
        with self._own(unit.injector):
            what = rng.choice(["busy", "busy_items", "busy_items", "lies"])
            setattr(unit.injector, what, rng.choice([0.1, 0.5, 0.95]))
            self._rest(rng.uniform(1, 8))
            unit.injector.calm()

    # -- PostgreSQL

    def pg_restart(self, rng: random.Random) -> None:
        with self._own("postgres"), self._world.troubles.during(None, "PostgreSQL restarts"):
            how = rng.choice(["fast", "immediate", "kill9"])
            if how == "kill9":
                self._world.postgres.kill9()
                self._world.postgres.start()
            else:
                self._world.postgres.restart(how)

    def terminate(self, rng: random.Random) -> None:
        with self._world.troubles.during(None, "terminated"), self._world.db.connect(connect_timeout=5) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE "
                               "'outboxd%%' AND datname = current_database() AND pid <> pg_backend_pid() "
                               "AND random() < %s", [rng.choice([0.3, 1])])

    def pin_xmin(self, rng: random.Random) -> None:
        with self._own("pin"), self._world.db.connect(connect_timeout=5) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT count(*) FROM entity")
            self._rest(rng.uniform(5, 40))

    def late_commit(self, rng: random.Random) -> None:
        """Draws ids, commits long after younger ones of the same lanes were delivered, and goes on at once."""
        writers = self._world.writers
        # Keys of its own half of the time: nobody waits for those. Otherwise writers do, up to their own time-out.
        numbers = [rng.randrange(25) if rng.random() < 0.2 else 5000 + rng.randrange(60) for _ in range(12)]
        targets = sorted({(rng.choice(INDEXES), document_id(number)) for number in numbers})
        with self._own("late"), self._world.db.connect(connect_timeout=5, options="-c statement_timeout=8s") as connection:
            with connection.transaction():
                ids = []
                for index, name in targets:
                    poison = rng.random() < 0.15
                    document = make_document(rng, n='"seven"' if poison else None)
                    label = "poison_mapping" if poison else "updated"
                    ids.append(publish(connection, (index, name, document, label)))
                self._rest(rng.choice([rng.uniform(0.2, 2), rng.uniform(3, 15)]))
            for index, name in targets:
                document = None if rng.random() < 0.5 else make_document(rng)
                label = "deleted" if document is None else "updated"
                ids.append(publish(connection, (index, name, document, label)))
        writers.confirmed += ids

    def requeue(self, rng: random.Random) -> None:
        with self._own("operator"):
            words = ["--all"]
            if rng.random() < 0.5:
                rows = self._world.db.execute("SELECT id FROM outbox WHERE dead_at IS NOT NULL ORDER BY random() LIMIT 3")
                words = [",".join(str(row[0]) for row in rows)] if rows else words
            done = self._world.operator.run("requeue", *words)
            if done.exit_code != 0:
                raise RuntimeError(done.stderr[-300:])

    # -- Elasticsearch

    def es_restart(self, rng: random.Random) -> None:
        with self._own("elastic"):
            self._world.elastic.restart()

    def es_kill(self, rng: random.Random) -> None:
        with self._own("elastic"):
            self._world.es_epoch += 1
            self._world.elastic.kill9()
            self._world.es_epoch += 1
            self._world.elastic.start()

    def block(self, rng: random.Random) -> None:
        index = rng.choice(list(self._world.indexes))
        with self._own(index):
            name = rng.choice(["write", "read_only_allow_delete"])
            self._world.elastic.call("PUT", f"/{index}/_settings", {f"index.blocks.{name}": True})
            self._rest(rng.uniform(0.5, 6))
            self._persist(lambda: self._world.unblock(index))

    def close_open(self, rng: random.Random) -> None:
        index = rng.choice(list(self._world.indexes))
        with self._own(index):
            self._world.elastic.call("POST", f"/{index}/_close")
            self._rest(rng.choice([0.0, rng.uniform(0.2, 3)]))
            self._persist(lambda: self._world.elastic.call("POST", f"/{index}/_open"))

    def _persist(self, undo: Callable[[], Any]) -> None:
        """Elasticsearch itself may just be away."""
        deadline = time.monotonic() + 60
        while True:
            try:
                undo()
                return
            except MISHAPS:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)


# name: (weight, what it does, whether Elasticsearch forgets its tombstones by it)
KINDS: dict[str, tuple[float, Callable[[Faults, random.Random], None], bool]] = {
    "kill_relay": (10, Faults.kill_relay, False),
    "freeze_relay": (7, Faults.freeze_relay, False),
    "pg_net": (14, Faults.pg_net, False),
    "es_net": (14, Faults.es_net, False),
    "overload": (12, Faults.overload, False),
    "pg_restart": (4, Faults.pg_restart, False),
    "terminate": (7, Faults.terminate, False),
    "pin_xmin": (2, Faults.pin_xmin, False),
    "late_commit": (7, Faults.late_commit, False),
    "requeue": (8, Faults.requeue, False),
    "block": (6, Faults.block, False),
    "close_open": (5, Faults.close_open, True),
    "es_restart": (0.5, Faults.es_restart, True),
    "es_kill": (0.5, Faults.es_kill, True),
}


def make_plan(seed: int, seconds: float) -> list[Planned]:
    rng = random.Random(f"{seed} plan")
    weights = [kind[0] for kind in KINDS.values()]
    plan = []
    at = 2.0
    while (at := at + rng.expovariate(1 / GAP)) < seconds - 2:
        plan.append(Planned(at, rng.choices(list(KINDS), weights)[0], len(plan) + 1))
    return plan
