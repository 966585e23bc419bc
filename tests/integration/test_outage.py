"""Servers that are away: it waits, says so once, and goes on by itself."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import pytest

from harness import Database, Elastic, FaultProxy, History, Outboxd, Postgres, ScriptedElastic, insert_events, wait_until
from harness.scripted_elastic import Answer, Request

from helpers import init, undelivered

OutboxdFactory = Callable[..., Outboxd]


def test_elasticsearch_down_at_start(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    with FaultProxy(elastic.port) as proxy:
        proxy.refuse()
        relay = outboxd(elasticsearch_url=proxy.url, retry_cap="200ms", log_level="debug")
        assert relay.run("init").exit_code == 0
        db.execute("SELECT outbox_publish(%s, '1', '{\"n\": 1}')", [index])
        relay.start()
        wait_until(lambda: len(relay.logs("elasticsearch_still_away")) >= 5, 30, "it to try again several times")
        assert len(relay.logs("elasticsearch_away")) == 1

        proxy.pass_all()

        wait_until(lambda: elastic.get(index, "1"), 20, "the event to be delivered")
        assert relay.wait_log("elasticsearch_back")["failures"] != "0"


def test_once_gives_up_after_its_timeout(db: Database, elastic: Elastic, outboxd: OutboxdFactory) -> None:
    with FaultProxy(elastic.port) as proxy:
        proxy.refuse()
        relay = outboxd(elasticsearch_url=proxy.url, relay_once_timeout="1s")
        assert relay.run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, 10)

        done = relay.run_once(timeout=20)

    assert done.exit_code == 75
    assert len(done.logs("once_timeout")) == 1
    assert db.value("SELECT count(*) FROM outbox WHERE NOT processed AND attempts = 0") == 10


def test_postgres_down_at_start(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                outboxd: OutboxdFactory) -> None:
    with FaultProxy(postgres.port) as proxy:
        assert outboxd().run("init").exit_code == 0
        db.execute("SELECT outbox_publish(%s, '1', '{\"n\": 1}')", [index])
        proxy.refuse()
        relay = outboxd(postgres_dsn=db.dsn_with(port=proxy.port), retry_cap="200ms")
        relay.start()
        relay.wait_log("postgres_away", timeout=20)

        proxy.pass_all()

        wait_until(lambda: elastic.get(index, "1"), 20, "the event to be delivered")
        assert len(relay.logs("postgres_away")) == 1
        assert len(relay.logs("postgres_back")) == 1


def test_a_table_that_comes_later(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """A container may start before its database was migrated."""
    relay = outboxd(retry_cap="300ms")
    relay.start()
    relay.wait_log("table_unfit", timeout=20)

    relay2 = outboxd()
    assert relay2.run("init").exit_code == 0
    db.execute("SELECT outbox_publish(%s, '1', '{\"n\": 1}')", [index])

    wait_until(lambda: elastic.get(index, "1"), 20, "the event to be delivered")
    assert len(relay.logs("table_unfit")) == 1


def test_once_without_a_table_is_a_configuration_error(outboxd: OutboxdFactory) -> None:
    done = outboxd().run_once(timeout=20)

    assert done.exit_code == 78
    assert "outboxd init" in done.stderr


def test_answers_that_are_no_answers(db: Database, outboxd: OutboxdFactory) -> None:
    """HTML, cut and short answers say nothing about the events: all are sent again, none is marked."""
    history = History()
    bad = [Answer(status=502, body=b"<html>bad gateway</html>"), Answer(body=b"<html>login</html>"), Answer(body=b"{}"),
           Answer(body=b'{"errors":false,"items":[]}'), Answer(cut_after=40), Answer(ending="reset", cut_after=0),
           Answer(close=True, body=b""), Answer(status=503, headers={"Retry-After": "0"}, body=b"")]
    with ScriptedElastic(bad) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, retry_base="10ms", retry_cap="50ms", relay_workers=1)
        assert relay.run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, 20, history=history)

        done = relay.run_once()

        assert done.exit_code == 0
        assert len(scripted.bulks) >= len(bad) + 1
        delivered = {action.id for action in scripted.bulks[-1].actions}
        assert delivered == set(history.newest)
        assert db.value("SELECT count(*) FROM outbox WHERE processed AND attempts = 0") == 20


def test_429_for_some_items_is_no_failure(db: Database, outboxd: OutboxdFactory) -> None:
    busy = (429, "es_rejected_execution_exception", "rejected execution")
    with ScriptedElastic([Answer(items={2: busy, 5: busy})] * 3) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, retry_base="10ms", retry_cap="50ms", relay_workers=1)
        assert relay.run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, 20)

        assert relay.run_once().exit_code == 0

        assert db.value("SELECT count(*) FROM outbox WHERE processed AND attempts = 0") == 20


def test_one_event_that_makes_the_whole_request_fail(db: Database, outboxd: OutboxdFactory) -> None:
    """A 400 for all is bisected: the one at fault is dead, its 199 neighbours are delivered."""

    def refuse_13(request: object) -> Answer | None:
        actions = request.actions  # type: ignore[attr-defined]
        if any(action.id == "13" for action in actions):
            return Answer(status=400, body=b'{"error":{"type":"illegal_argument_exception","reason":"no"},"status":400}')
        return None

    with ScriptedElastic(refuse_13) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url)
        assert relay.run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, 200)

        assert relay.run_once().exit_code == 65

    assert db.value("SELECT count(*) FROM outbox WHERE processed") == 199
    assert db.value("SELECT error->>'type' FROM outbox WHERE aggregate_id = '13'") == "illegal_argument_exception"


def test_a_missing_index_holds_back_only_itself(db: Database, elastic: Elastic, index: str,
                                                outboxd: OutboxdFactory) -> None:
    elastic.create_index(index)
    elastic.call("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    other = f"{index}-other"
    relay = outboxd(retry_cap="300ms")
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 500, index=index)
        insert_events(connection, 500, index=other, prefix="o")
    try:
        relay.start()
        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE processed AND aggregate_type = %s", [other]) == 500,
                   30, "the other index to be served")
        assert db.value("SELECT count(*) FROM outbox WHERE processed AND aggregate_type = %s", [index]) == 0
        assert len(relay.logs("index_paused", index=index)) == 1

        elastic.call("PUT", f"/{index}/_settings", {"index.blocks.write": False})

        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE processed") == 1000, 30,
                   "the index to be served after the block is gone")
        assert db.value("SELECT max(attempts) FROM outbox") == 0
        assert len(relay.logs("index_resumed", index=index)) == 1
    finally:
        elastic.delete_index(other)


def test_once_with_nothing_to_deliver_needs_no_elasticsearch(elastic: Elastic, outboxd: OutboxdFactory) -> None:
    with FaultProxy(elastic.port) as proxy:
        proxy.refuse()
        relay = outboxd(elasticsearch_url=proxy.url)
        assert relay.run("init").exit_code == 0

        assert relay.run_once(timeout=20).exit_code == 0


# An outage as long as people know them, by OUTBOXD_OUTAGE_SECONDS=600; in CI the same in short.
OUTAGE_SECONDS = float(os.environ.get("OUTBOXD_OUTAGE_SECONDS", "6"))


@pytest.mark.time_limit(int(OUTAGE_SECONDS) + 120)
@pytest.mark.parametrize("how", ["refuse", "black_hole"])
def test_recovery_needs_no_one(how: str, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """While Elasticsearch is away nothing is held in PostgreSQL, no attempt is counted, little is said; afterwards all is
    delivered without a hand on it."""
    with FaultProxy(elastic.port) as proxy:
        relay = outboxd(elasticsearch_url=proxy.url, elasticsearch_timeout="2s", retry_cap="5s")
        assert relay.run("init").exit_code == 0
        relay.start()
        relay.wait_log("elasticsearch_connected", timeout=30)
        held: list[float] = []

        getattr(proxy, how)()
        published = 1
        db.execute("SELECT outbox_publish(%s, '1', '{\"n\": 1}')", [index])
        # Until the first request has run into its time-out its claim is open, and rightly so.
        relay.wait_log("elasticsearch_away", timeout=30)
        deadline = time.monotonic() + OUTAGE_SECONDS
        while time.monotonic() < deadline:
            published += 1
            db.execute("SELECT outbox_publish(%s, %s, '{\"n\": 1}')", [index, str(published)])
            held.append(float(db.value(
                "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 "
                "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")))
            time.sleep(0.2)
        attempts = db.value("SELECT max(attempts) FROM outbox")
        lines = len(relay.logs())
        proxy.reset_all()
        proxy.pass_all()

        wait_until(lambda: db.value("SELECT count(*) FROM outbox WHERE NOT processed") == 0, 30, "all to be delivered")
        elastic.refresh(index)
        assert elastic.count(index) == published
        assert held and max(held) < 5 and statistics.median(held) < 0.5
        assert attempts == 0
        assert lines < 20
        assert len(relay.logs("elasticsearch_away")) == len(relay.logs("elasticsearch_back")) == 1


def test_requests_shrink_on_429_and_grow_again(db: Database, outboxd: OutboxdFactory, index: str) -> None:
    """Ten are taken, five refused for load, then all: they carry less, and more again by themselves."""
    sizes: list[int] = []

    def answer(request: Request) -> Answer | None:
        sizes.append(len(request.body))
        return Answer(status=429, body="") if 10 < len(sizes) <= 15 else None

    with ScriptedElastic(answer) as elastic:
        daemon = outboxd(elasticsearch_url=elastic.url, retry_base="10ms", retry_cap="100ms")
        init(daemon)
        with db.connect() as connection:
            insert_events(connection, 30_000, index=index)
        done = daemon.run_once(timeout=60)
        assert done.exit_code == 0, done.stderr[-3000:]
    assert undelivered(db) == 0
    before, after, later = sizes[:10], sizes[15:19], sizes[19:]
    assert max(after) * 4 <= max(before)
    assert max(later) >= 2 * max(after)
