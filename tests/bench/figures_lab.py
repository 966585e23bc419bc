"""What the figures are measured on: servers that start with the first figure that needs them, a database for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property

import bench
from harness import Database, Elastic, Postgres
from release import SINK, fine, relay
from sink import Sink

Values = dict[str, float]


class Lab:
    def __init__(self, scale: float, rounds: int) -> None:
        self.scale, self.rounds = scale, rounds
        self._stack = ExitStack()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def postgres(self) -> Postgres:
        return self._stack.enter_context(bench.postgres())

    @cached_property
    def sink(self) -> Sink:
        return self._stack.enter_context(Sink(SINK))

    @cached_property
    def elastic(self) -> Elastic:
        started = self._stack.enter_context(bench.elasticsearch())
        with self.database() as db:
            bench.measure_drain(db, started, self.scaled(500_000))  # warms up the Java side; not counted
        return started

    def scaled(self, count: int, least: int = 1) -> int:
        return max(least, round(count * self.scale))

    def medians(self, measure: Callable[[], Values]) -> Values:
        return bench.medians([measure() for _ in range(self.rounds)])

    @contextmanager
    def database(self, *init: str) -> Iterator[Database]:
        """With an outbox that nothing was ever in: no figure finds what another one left."""
        db = self.postgres.createdb()
        try:
            fine(relay(db, self.sink).run("init", *init))
            yield db
        finally:
            db.drop()
