"""Statements that a session keeps by name, with their plans: at rest, where parsing and planning are most of what an event
costs; only where the session is the relay's own; and not when they were made for another table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from harness import Database, Elastic, Outboxd, PgBouncer, Postgres, insert_events, wait_until
from harness.statements import Statement, statements

from helpers import init, publish, undelivered

OutboxdFactory = Callable[..., Outboxd]
UNNAMED = "<unnamed>"
FORGET = "DEALLOCATE ALL"
AGE_SECONDS = 30  # no plan gets older


def source(elastic: Elastic, index: str, document_id: str) -> object:
    document = elastic.get(index, document_id)
    return document and json.loads(document.source)


def wait_delivered(db: Database) -> None:
    wait_until(lambda: undelivered(db) == 0, 30, "all events to be delivered", every=0.02)


def one_by_one(db: Database, index: str, events: int) -> None:
    for number in range(events):
        publish(db, index, str(number), {"n": number})
        wait_delivered(db)


def parsed(asked: list[Statement], *, named: bool) -> list[Statement]:
    return [one for one in asked if one.phase == "parse" and (one.name != UNNAMED) == named]


def claims(asked: list[Statement]) -> list[Statement]:
    return [one for one in asked if "SKIP LOCKED" in one.text]


@pytest.fixture
def resting(db: Database, index: str, outboxd: OutboxdFactory) -> Outboxd:
    """A relay whose one worker has had its backlog."""
    relay = outboxd(relay_workers=1)
    init(relay, "--notify")
    relay.start()
    relay.wait_log("wakeups_work")
    one_by_one(db, index, 1)
    return relay


@pytest.mark.parametrize("shape", ["plain", "partitioned"])
def test_at_rest_nothing_is_parsed_twice(shape: str, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(relay_workers=1)
    init(relay, "--notify", *(["--partitioned"] if shape == "partitioned" else []))
    relay.start()
    relay.wait_log("wakeups_work")

    with statements(db.server) as asked:
        one_by_one(db, index, 20)

    known: set[str] = set()
    for one in asked:
        if one.text == FORGET and one.is_run:
            known = set()
        elif one.phase == "parse" and one.name != UNNAMED:
            assert one.text not in known
            known.add(one.text)
    assert not claims(parsed(asked, named=False))
    assert len([one for one in claims(asked) if one.is_run and one.name != UNNAMED]) >= 20
    assert all(source(elastic, index, str(number)) == {"n": number} for number in range(20))


def test_each_claim_of_a_backlog_is_planned_for_it(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(relay_batch_rows=100)
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 2000, index=index)

    with statements(db.server) as asked:
        assert relay.run_once().exit_code == 0

    runs = [one for one in claims(asked) if one.is_run]
    assert sum(one.name == UNNAMED for one in runs) >= 20


def test_the_table_changes_meanwhile(resting: Outboxd, db: Database, elastic: Elastic, index: str) -> None:
    changes = ("ALTER TABLE outbox ADD COLUMN note text DEFAULT 'x'", "ALTER TABLE outbox DROP COLUMN note",
               "ALTER TABLE outbox ALTER COLUMN attempts TYPE bigint", "CREATE INDEX ON outbox (aggregate_id)",
               "VACUUM FULL outbox")
    for number, change in enumerate(changes):
        db.execute(change)
        publish(db, index, f"after-{number}", {"n": number})
        wait_delivered(db)

    assert all(source(elastic, index, f"after-{number}") == {"n": number} for number in range(len(changes)))
    assert not resting.logs("sql_failed")
    assert not resting.logs("postgres_away")


def test_a_plan_gets_no_older_than_half_a_minute(db: Database, index: str, outboxd: OutboxdFactory) -> None:
    """To forget takes a snapshot, after which BEGIN could not choose another isolation than the default."""
    db.execute(f"ALTER DATABASE {db.name} SET default_transaction_isolation = 'serializable'")
    relay = outboxd(relay_workers=1)
    init(relay, "--notify")
    relay.start()
    relay.wait_log("wakeups_work")
    one_by_one(db, index, 2)

    with statements(db.server) as asked:
        time.sleep(AGE_SECONDS + 2)  # looks go on
        one_by_one(db, index, 2)

    forgot = [number for number, one in enumerate(asked) if one.is_run and one.text == FORGET]
    assert len(forgot) == 1
    assert not claims(parsed(asked[:forgot[0]], named=True))
    assert len(claims(parsed(asked[forgot[0]:], named=True))) == 1, "planned anew, and kept again"
    assert not relay.logs("postgres_away")
    assert not relay.logs("sql_failed")


def test_behind_a_pooler_nothing_is_kept(postgres: Postgres, db: Database, index: str, outboxd: OutboxdFactory) -> None:
    with PgBouncer(postgres, {"default_pool_size": 2}) as pooler:
        relay = outboxd(postgres_dsn=db.dsn_with(port=pooler.port), relay_poll_interval="100ms")
        init(relay)
        relay.start()

        with statements(db.server) as asked:
            one_by_one(db, index, 10)

        assert len(claims(parsed(asked, named=False))) >= 10
        assert not parsed(asked, named=True)
        assert not relay.logs("postgres_away")


def test_a_session_that_loses_its_names(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """As behind a pooler that looks like none: the claim is repeated, and nothing is kept from then on."""
    db.execute("CREATE FUNCTION lose(document jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN "
               "IF document ? 'lose' THEN DEALLOCATE ALL; END IF; RETURN document; END $$")
    relay = outboxd(relay_workers=1, outbox_document="lose(o.data)", log_level="debug")
    init(relay, "--notify")
    relay.start()
    relay.wait_log("wakeups_work")
    one_by_one(db, index, 2)

    publish(db, index, "loses", {"lose": True})
    wait_delivered(db)

    with statements(db.server) as asked:
        one_by_one(db, index, 5)
    assert not parsed(asked, named=True)
    assert len(claims(parsed(asked, named=False))) >= 5
    assert source(elastic, index, "loses") == {"lose": True}


def test_a_new_session_knows_nothing(resting: Outboxd, db: Database, index: str) -> None:
    with statements(db.server) as asked:
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                   "WHERE application_name = 'outboxd' AND datname = current_database()")
        resting.wait_log("postgres_back")
        one_by_one(db, index, 3)

    assert len(claims(parsed(asked, named=True))) == 1
    assert len([one for one in claims(asked) if one.is_run and one.name != UNNAMED]) >= 3
