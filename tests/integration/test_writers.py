"""Transactions that write and stay open for long, as a nightly job does: claims beside them cost what they cost before, and what
such a transaction leaves when it commits is not passed by a newer event of the same document."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from harness import Database, Elastic, Outboxd, insert_events, wait_until

from helpers import init, publish, undelivered

OutboxdFactory = Callable[..., Outboxd]
PATIENCE_SECONDS = 1.3  # after a second a transaction counts as one that stays open
UPDATES = "CASE WHEN o.event = 'part' THEN 'update' ELSE 'index' END"
PART = """INSERT INTO outbox (event, aggregate_type, aggregate_id, data)
          SELECT 'part', %s, 'k' || n, %s FROM generate_series(1, 30) AS n"""
READ = """SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes
          WHERE relname = 'outbox' AND indexrelname LIKE 'outbox_lane_%'"""


@pytest.fixture
def writer(db: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(db.dsn) as connection:
        yield connection
        connection.rollback()


def wait_delivered(db: Database) -> None:
    wait_until(lambda: undelivered(db) == 0, 60, "all that is committed to be delivered", every=0.02)


def events_go_by(db: Database, index: str, name: str, seconds: float) -> None:
    """Few, so that all lanes have some, again and again."""
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        publish(db, index, f"{name}-{number}", {"n": number})
        number += 1
        time.sleep(0.005)
    wait_delivered(db)


def test_what_it_leaves_is_not_passed_by_newer_events(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory,
                                                      writer: psycopg.Connection) -> None:
    relay = outboxd(outbox_operation=UPDATES)
    init(relay, "--notify")
    relay.start()
    relay.wait_log("wakeups_work")
    for number in range(1, 31):
        publish(db, index, f"k{number}", {"number": number})
    wait_delivered(db)

    for turn in range(2):
        writer.execute(PART, [index, f'{{"late{turn}": true}}'])
        events_go_by(db, index, f"beside-{turn}", (turn + 1) * PATIENCE_SECONDS)  # it waits longer after the first one ended
        with db.connect() as newer:
            writer.commit()
            newer.execute(PART, [index, f'{{"newer{turn}": true}}'])
        wait_delivered(db)

    found = elastic.mget(index, [f"k{number}" for number in range(1, 31)])
    assert len(found) == 30
    for document in found.values():
        assert all(f'"{field}"' in document.source for field in ("number", "late0", "newer0", "late1", "newer1")), document


def test_claims_beside_it_walk_over_nothing(db: Database, index: str, outboxd: OutboxdFactory, writer: psycopg.Connection) -> None:
    """Index entries that were read: those of processed rows cannot go while it is open."""
    relay = outboxd()
    init(relay, "--notify")
    relay.start()
    relay.wait_log("wakeups_work")
    writer.execute("SELECT pg_current_xact_id()")
    with db.connect() as connection:
        insert_events(connection, 8000, index=index)
    events_go_by(db, index, "beside", PATIENCE_SECONDS)

    def read() -> int:
        time.sleep(1.5)  # sessions report once a second
        return int(db.value(READ))

    before = read()
    for number in range(100):
        publish(db, index, f"single-{number}", {"n": number})
        wait_until(lambda: undelivered(db) == 0, 60, "it to be delivered", every=0.002)
    # A look that walked over them would have read 8,000 in each of two statements. Sweeps do, for a twentieth of the time.
    assert read() - before < 100 * 8000
