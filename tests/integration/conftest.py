"""Real servers for every test. A server that cannot be had is an error of the run, never a reason to skip."""

from __future__ import annotations

import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from admin import Admin
from harness import Database, Elastic, Outboxd, Postgres, ScriptedElastic, wait_until
from harness.outboxd import plain_binary
from harness.ports import HOST, free_port
from helpers import init, publish

TIME_LIMIT_SECONDS = 120
OutboxdFactory = Callable[..., Outboxd]

# The default action would skip atexit, and leave scratch folders behind.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def elastic() -> Iterator[Elastic]:
    with Elastic() as node:
        yield node


@pytest.fixture
def db(postgres: Postgres) -> Iterator[Database]:
    """An empty database of its own."""
    postgres.ensure_running()
    database = postgres.createdb()
    yield database
    postgres.ensure_running()
    database.drop()


@pytest.fixture
def index(elastic: Elastic) -> Iterator[str]:
    """The name of an index that does not exist yet."""
    elastic.ensure_running()
    name = f"products-{uuid.uuid4().hex[:12]}"
    yield name
    elastic.remove_index(name)


@pytest.fixture
def outboxd(db: Database, elastic: Elastic, index: str) -> Iterator[OutboxdFactory]:
    """Makes daemons for `db` and `elastic` unless told otherwise: outboxd(relay_workers=1).start()

    It asks for `index` too, so that the daemons are gone before index and database are dropped.
    """
    made: list[Outboxd] = []

    def make(**settings: Any) -> Outboxd:
        if "config_text" not in settings:
            settings = {"postgres_dsn": db.dsn, "elasticsearch_url": elastic.url, **settings}
        made.append(Outboxd(**settings))
        return made[-1]

    yield make
    for daemon in made:
        daemon.print_log()
    for daemon in made:
        daemon.close()


@pytest.fixture
def plain(outboxd: OutboxdFactory) -> OutboxdFactory:
    """The same of a build without sanitizers."""
    return lambda **settings: outboxd(binary_path=plain_binary(), **settings)


@pytest.fixture
def admin() -> Admin:
    return Admin()


@pytest.fixture
def daemon(db: Database, outboxd: OutboxdFactory, admin: Admin) -> Iterator[Any]:
    made = outboxd(admin_listen=admin.listen, relay_poll_interval="50ms")
    init(made)
    made.start()
    made.wait_log("admin_listens")
    yield made


@pytest.fixture
def ready(daemon: Any, admin: Admin) -> Any:
    wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")
    return daemon


@pytest.fixture
def stuck(db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> Any:
    """With an event that it cannot deliver: Elasticsearch is away."""
    daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=f"http://{HOST}:{free_port()}")
    init(daemon)
    publish(db, index, "1", {"n": 1})
    daemon.start()
    daemon.wait_log("elasticsearch_away", timeout=20)
    return daemon


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """The file with the relay's password on a secure_node."""
    file = tmp_path / "password"
    file.write_text("relay-secret\n")
    file.chmod(0o600)
    return file


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("time_limit")
    limit = marker.args[0] if marker else TIME_LIMIT_SECONDS

    def on_alarm(*_: object) -> None:
        raise TimeoutError(f"the test took longer than {limit} s")

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, limit)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
