"""The servers of the integration tests, and a service for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.conftest import db, elastic, index, outboxd, postgres, pytest_runtest_call  # noqa: F401
from systemd.machine import Machine, Service


@pytest.fixture(scope="session")
def machine() -> Machine:
    return Machine()


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    made = Service(machine)
    yield made
    made.remove()
