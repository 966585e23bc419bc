"""The servers of the integration tests, and containers for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from containers.engine import Container
from harness import Database, Elastic
from integration.conftest import admin, db, elastic, index, postgres, pytest_runtest_call  # noqa: F401

ContainerFactory = Callable[..., Container]


@pytest.fixture
def container(db: Database, elastic: Elastic, index: str) -> Iterator[ContainerFactory]:
    """Makes containers for `db` and `elastic` unless told otherwise; the table is there already."""
    made: list[Container] = []

    def make(**settings: str) -> Container:
        made.append(Container({"postgres_dsn": db.dsn, "elasticsearch_url": elastic.url, "admin_listen": "off", **settings}))
        return made[-1]

    done = make().run("init", "--notify")
    assert done.returncode == 0, done.stderr
    yield make
    for one in made:
        one.remove()
