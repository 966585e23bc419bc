"""The servers of the integration tests, and a bare Debian with the packages beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.conftest import db, elastic, index, outboxd, postgres, pytest_runtest_call  # noqa: F401
from packages.root import Root
from systemd.machine import Service


@pytest.fixture(scope="session")
def packages() -> Path:
    return Path(os.environ["OUTBOXD_PACKAGES"])  # tests/packages/run makes them


@pytest.fixture(scope="session")
def root(packages: Path) -> Root:
    root = Root()
    for package in packages.iterdir():
        root.copy_in(package, f"/run/packages/{package.name}")
    return root


@pytest.fixture
def installed(root: Root) -> Iterator[Root]:
    """With the package, and without it afterwards."""
    root.install(root.first)
    yield root
    root.purge()


@pytest.fixture
def service(installed: Root) -> Iterator[Service]:
    """The installed unit; stopped before the package goes."""
    service = Service(installed)
    yield service
    print(service.journal()[-6000:])
    service.systemctl("disable", "--now", check=False)
    service.systemctl("reset-failed", check=False)
