"""What a service manager hears, on a socket of the test in the place of systemd's. The unit itself: tests/systemd/run."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from admin import COUNT_WAIT
from harness import Database, Elastic, FaultProxy, Outboxd, insert_events, wait_until
from harness.ports import free_port

OutboxdFactory = Callable[..., Outboxd]


class Manager:
    """Keeps each message with the time of its arrival."""

    def __init__(self) -> None:
        self.address = f"@outboxd-test-{os.getpid()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:])
        self._socket.setblocking(False)
        self._heard: list[tuple[float, str]] = []

    def heard(self) -> list[tuple[float, str]]:
        while True:
            try:
                message = self._socket.recv(65536).decode()
            except BlockingIOError:
                return self._heard
            self._heard.append((time.monotonic(), message))

    def times(self, line: str) -> list[float]:
        return [at for at, message in self.heard() if line in message.split("\n")]

    def statuses(self) -> list[str]:
        return [line[7:] for _, message in self.heard() for line in message.split("\n") if line.startswith("STATUS=")]

    def wait(self, line: str, timeout: float = 30) -> None:
        wait_until(lambda: self.times(line), timeout, f"{line}; heard {self.heard()[-3:]}")

    def wait_status(self, pattern: str, timeout: float = 30) -> str:
        """The newest status, as soon as it is of the form."""

        def look() -> str | None:
            newest = self.statuses()[-1:]
            return newest[0] if newest and re.search(pattern, newest[0]) else None

        try:
            return wait_until(look, timeout, f"a status like {pattern!r}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; heard {self.statuses()[-5:]}") from None

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager()
    yield made
    made.close()


def environment(manager: Manager, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.address, **more}


def test_ready_without_any_server(manager: Manager, outboxd: OutboxdFactory) -> None:
    relay = outboxd(environment=environment(manager), postgres_dsn=f"host=127.0.0.1 port={free_port()}",
                    elasticsearch_url=f"http://127.0.0.1:{free_port()}")
    relay.start()

    manager.wait("READY=1")

    # libpq's sentence has line breaks; a status has none. Elasticsearch is asked by a worker that has a session.
    manager.wait_status(r"^not counted yet, 0/s; PostgreSQL is away: .*; Elasticsearch has not answered yet")
    assert len(manager.times("READY=1")) == 1
    assert manager.times("WATCHDOG=1") == []  # nobody asked for it


def test_not_ready_with_a_wrong_configuration(manager: Manager, outboxd: OutboxdFactory) -> None:
    relay = outboxd(environment=environment(manager), relay_workers="none")

    assert relay.run("run").exit_code == 78

    assert manager.heard() == []


def test_status_tells_lag_and_rate(manager: Manager, db: Database, elastic: Elastic, index: str,
                                   outboxd: OutboxdFactory) -> None:
    with FaultProxy(elastic.port) as proxy:
        relay = outboxd(environment=environment(manager), elasticsearch_url=proxy.url)
        assert relay.run("init").exit_code == 0
        proxy.refuse()
        relay.start()
        with db.connect() as connection:
            insert_events(connection, 300, index=index)

        manager.wait_status(r"^300 pending, oldest [1-9]\d* s, 0/s; Elasticsearch is away: ", COUNT_WAIT)
        proxy.pass_all()

        manager.wait_status(r"^\d+ pending.*, [1-9][\d.]*/s$", COUNT_WAIT)
        manager.wait_status("^0 pending, 0/s$", COUNT_WAIT)
    # Said when it changes, not each time: nothing but READY and STATUS was sent.
    statuses = manager.statuses()
    assert all(a != b for a, b in zip(statuses, statuses[1:]))


def test_the_watchdog_beats_from_the_loop(manager: Manager, outboxd: OutboxdFactory) -> None:
    relay = outboxd(environment=environment(manager, WATCHDOG_USEC="600000"))
    assert relay.run("init").exit_code == 0
    manager.heard().clear()
    began = time.monotonic()
    relay.start()
    wait_until(lambda: len(manager.times("WATCHDOG=1")) >= 25, 60, "25 beats")
    # One at the start, five before its connections, then at half of the period. A slow machine makes all of it longer, so
    # it decides neither line.
    beats = manager.times("WATCHDOG=1")
    assert beats[24] - began > 18 * 0.3
    assert min(b - a for a, b in zip(beats[6:], beats[7:])) < 0.5

    relay.pause()
    wait_until(lambda: open(f"/proc/{relay.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", 10, "it to stand still")
    silent_from = len(manager.times("WATCHDOG=1"))
    until = time.monotonic() + 2
    wait_until(lambda: time.monotonic() > until, 10, "three periods")
    assert len(manager.times("WATCHDOG=1")) == silent_from

    relay.resume()
    wait_until(lambda: len(manager.times("WATCHDOG=1")) >= silent_from + 3, 30, "the beats to go on")


def test_a_watchdog_of_another_process_is_not_ours(manager: Manager, outboxd: OutboxdFactory) -> None:
    relay = outboxd(environment=environment(manager, WATCHDOG_USEC="20000", WATCHDOG_PID="1"))
    relay.start()
    manager.wait_status("pending|not counted")
    relay.terminate()

    assert manager.times("WATCHDOG=1") == []


def test_stopping_asks_for_the_time_it_needs(manager: Manager, outboxd: OutboxdFactory) -> None:
    relay = outboxd(environment=environment(manager), relay_shutdown_timeout="90s")
    relay.start()
    manager.wait("READY=1")

    assert relay.terminate().exit_code == 0

    assert len(manager.times("STOPPING=1")) == 1
    assert len(manager.times("EXTEND_TIMEOUT_USEC=95000000")) == 1
    assert manager.heard()[-1][1].startswith("STOPPING=1\n")


def test_once_only_beats(manager: Manager, db: Database, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(environment=environment(manager, WATCHDOG_USEC="20000"))
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 100, index=index)

    assert relay.run_once().exit_code == 0

    assert {message for _, message in manager.heard()} == {"WATCHDOG=1"}


def test_a_manager_that_is_gone_disturbs_nobody(manager: Manager, db: Database, elastic: Elastic, index: str,
                                                outboxd: OutboxdFactory) -> None:
    manager.close()
    relay = outboxd(environment=environment(manager, WATCHDOG_USEC="20000"))
    assert relay.run("init").exit_code == 0
    relay.start()
    with db.connect() as connection:
        insert_events(connection, 100, index=index)

    wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE NOT processed") == 0, 30, "the events to be delivered")
    assert relay.terminate().exit_code == 0
