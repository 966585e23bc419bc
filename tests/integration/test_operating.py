"""docs/OPERATING.md: its commands beside a running daemon, and the events of the log that it explains."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from conftest import OutboxdFactory
from helpers import init, publish, undelivered
from documents import ROOT, read
from shell import Operator, newcomer

from harness import Database, Elastic

DOCUMENT = "docs/OPERATING.md"


@pytest.fixture
def op(db: Database, elastic: Elastic, outboxd: OutboxdFactory, tmp_path: Path) -> Operator:
    elastic.ensure_running()
    for name in ("products", "outboxd-probe"):
        elastic.delete_index(name)
    operator = Operator(DOCUMENT, db, elastic, tmp_path, outboxd(relay_poll_interval="50ms", retry_base="50ms"))
    init(operator.daemon, "--notify")
    return operator


def test_commands_beside_a_running_daemon(op: Operator, elastic: Elastic) -> None:
    op.start()
    with newcomer(DOCUMENT, {}, {"http://127.0.0.1:9465": op.variables["ADMIN"]}) as someone:
        someone.comes_to_see("sync")
    op.comes_to_see("status")
    op.sees("probe")
    elastic.delete_index("outboxd-probe")


def test_the_doctor(op: Operator, elastic: Elastic) -> None:
    elastic.create_index("products")
    elastic.call("POST", "/products/_close")
    op.db.execute("ALTER TABLE outbox SET (autovacuum_enabled = off)")
    publish(op.db, "products", "1", {})
    op.sees("check")
    elastic.delete_index("products")


def test_a_table_in_partitions(op: Operator, index: str) -> None:
    for number in (1, 2):
        publish(op.db, index, str(number), {})
    op.run("once")
    publish(op.db, index, "3", {})
    op.run("move")
    assert op.db.execute("SELECT id FROM outbox") == [(3,)]
    assert publish(op.db, index, "4", {}) == 2000000
    assert op.db.value("SELECT tableoid::regclass::text FROM outbox WHERE id = 2000000") == "outbox_p2000000"
    op.run("once")
    assert undelivered(op.db) == 0
    op.db.execute("DROP SCHEMA before CASCADE; DROP TABLE outbox")
    op.run("partitioned")
    assert publish(op.db, index, "1", {}) == 1


def test_one_shot(op: Operator, index: str) -> None:
    publish(op.db, index, "1", {})
    op.run("once")
    assert undelivered(op.db) == 0


def explained() -> set[str]:
    cells = re.findall(r"^\| (`[^|]*?) \|", read(DOCUMENT).split("## What the log says")[1], re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def source() -> str:
    return "".join(file.read_text() for file in (ROOT / "src").rglob("*.c"))


def test_every_event_that_is_explained_exists() -> None:
    assert {name for name in explained() if f'"{name}"' not in source()} == set()


def test_every_warning_and_error_is_explained() -> None:
    said = re.findall(r"\blog_(?:warn|error)\(\s*(.)(\w*)", source())
    assert len(said) > 20
    assert {start for start, _ in said} == {'"'}, "an event whose name is not written there cannot be looked up"
    assert {name for _, name in said} - explained() == set()


def test_an_idle_relay_looks_once_a_poll_interval(outboxd: OutboxdFactory, db: Database) -> None:
    """Not once for each worker: the second one began its look while the first had found nothing."""
    looks = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"  # one that found nothing is rolled back
    daemon = outboxd()
    daemon.run("init", "--notify")
    daemon.start()
    daemon.wait_log("wakeups_work", timeout=30)
    time.sleep(3)  # a session tells what it did a second later: those of the start
    before = db.value(looks)
    time.sleep(10)
    assert 5 <= db.value(looks) - before <= 14
