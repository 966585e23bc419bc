"""The servers of the integration tests, and a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from browser import Browser, Page

from harness import Database, Elastic, Outboxd, wait_until
from harness.ports import HOST, free_port
from integration.conftest import db, elastic, index, outboxd, postgres, pytest_runtest_call
from integration.helpers import init

# Fixtures and hooks are found by their names in this module.
__all__ = ["browser", "db", "elastic", "index", "open_page", "outboxd", "pinned", "postgres", "pytest_runtest_call",
           "site"]

PRICES = {"properties": {"price": {"type": "double"}}}
HOSTILE = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>"
TOKEN = "correct-horse-battery-staple"


class Site:
    """A daemon that serves the page, on a port that it keeps when it is started again."""

    def __init__(self, make: Callable[..., Outboxd], **settings: Any) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}/"
        self.daemon = make(admin_listen=f"{HOST}:{port}", retry_cap="300ms", **settings)
        init(self.daemon)
        self.start()

    def start(self) -> None:
        self.daemon.start()
        wait_until(self._answers, 20, f"an answer at {self.url}")

    def _answers(self) -> bool:
        try:
            with urlopen(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def headers(self) -> Message:
        """The headers that the page comes with."""
        with urlopen(self.url, timeout=5) as answer:
            return answer.headers


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def site(outboxd: Callable[..., Outboxd], elastic: Elastic, index: str, tmp_path: Path) -> Callable[..., Site]:
    """Makes a table, an index in which a price is a number, and a daemon with a page; with `token=True` one that
    asks for TOKEN."""
    elastic.create_index(index, PRICES)

    def make(token: bool = False, **settings: Any) -> Site:
        if token:
            file = tmp_path / "token"
            file.write_text(TOKEN + "\n")
            file.chmod(0o600)
            settings["admin_token_file"] = file
        return Site(outboxd, **settings)

    return make


class Pinned(NamedTuple):
    """A transaction that holds back the horizon, and the settings of a daemon to which it is old."""

    connection: Any
    settings: dict[str, str]


@pytest.fixture
def pinned(db: Database) -> Iterator[Pinned]:
    """The daemon does not speak of what is younger than a minute: its own clock is ahead."""
    db.execute("CREATE SCHEMA clock")
    db.execute("CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
               "$$SELECT pg_catalog.clock_timestamp() + interval '10 minutes'$$")
    settings = {"postgres_dsn": db.dsn_with(options="-c search_path=clock,pg_catalog,public"), "outbox_table": "public.outbox"}
    with db.connect(application_name=HOSTILE[:60]) as connection:
        connection.autocommit = False
        connection.execute("SELECT pg_current_xact_id()")
        yield Pinned(connection, settings)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[Site], Page]]:
    """Opens the page of a site. At the end the browser must have nothing to complain about:
    no script error, no breach of the page's policy."""
    opened: list[Page] = []

    def open_page(site: Site) -> Page:
        opened.append(browser.open(site.url))
        opened[-1].see("state-text", r"^(?!Asking)")
        return opened[-1]

    yield open_page
    complaints = [line for page in opened for line in page.complaints()]
    browser.driver.get("about:blank")
    assert complaints == []
