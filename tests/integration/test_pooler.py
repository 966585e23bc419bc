"""Behind a pooler in transaction mode: a session is another one in each transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from harness import Database, Elastic, History, Outboxd, PgBouncer, Postgres, insert_events, wait_until

from helpers import init, undelivered

OutboxdFactory = Callable[..., Outboxd]
SETTINGS = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout", "synchronous_commit",
            "tcp_user_timeout", "default_transaction_isolation", "client_encoding", "search_path")


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    with PgBouncer(postgres) as made:
        yield made


def wait_drained(db: Database, what: str, timeout: float = 40) -> None:
    wait_until(lambda: undelivered(db) == 0, timeout, what, every=0.05)


@pytest.mark.time_limit(240)
def test_it_polls_and_delivers(pooler: PgBouncer, db: Database, elastic: Elastic, index: str,
                               outboxd: OutboxdFactory) -> None:
    """LISTEN is accepted there and brings nothing: it must see that, and not wait for wake-ups."""
    history = History()
    relay = outboxd(postgres_dsn=db.dsn_with(port=pooler.port), relay_poll_interval="300ms")
    init(relay, "--notify")
    with db.connect() as connection:
        insert_events(connection, 2000, keys=400, deletes=0.1, index=index, history=history)
    relay.start()
    wait_drained(db, "the backlog")
    for number in range(5):
        db.execute("SELECT outbox_publish(%s, %s, '{\"n\": 1}')", [index + "-polled", str(number)])
        wait_until(lambda: elastic.get(index + "-polled", str(number)), 10, "the event to be found by polling")
    elastic.delete_index(index + "-polled")

    assert "a pooler in transaction mode" in relay.wait_log("wakeups_missing", timeout=120)["then"]  # three counts
    assert relay.logs("wakeups_work") == relay.logs("sql_failed") == relay.logs("postgres_away") == []
    history.assert_matches(elastic, index)


def test_two_relays_and_few_server_connections(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                               outboxd: OutboxdFactory) -> None:
    """Ten clients, three sessions behind them: they wait for each other, and order and completeness hold."""
    history = History()
    with PgBouncer(postgres, {"default_pool_size": 3}) as pooler:
        relays = [outboxd(postgres_dsn=db.dsn_with(port=pooler.port), relay_batch_rows=200) for _ in range(2)]
        init(relays[0])
        with db.connect() as connection:
            insert_events(connection, 2000, keys=300, deletes=0.1, index=index, history=history)
            for relay in relays:
                relay.start()
            for first in (2001, 4001):
                insert_events(connection, 2000, first=first, keys=300, deletes=0.1, index=index, history=history)
        wait_drained(db, "the drain")
        for relay in relays:
            assert relay.logs("sql_failed") == relay.logs("postgres_away") == []
    history.assert_matches(elastic, index)


def test_no_setting_stays_behind(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                 outboxd: OutboxdFactory) -> None:
    """One session for all: whoever gets it next must find it as if nobody had been there."""
    with PgBouncer(postgres, {"default_pool_size": 1, "ignore_startup_parameters": "extra_float_digits"}) as pooler:
        dsn = db.dsn_with(port=pooler.port)
        init(outboxd())
        with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as other:
            def show() -> tuple[object, ...]:
                columns = ", ".join(f"current_setting('{name}')" for name in SETTINGS)
                row = other.execute(f"SELECT pg_backend_pid(), {columns}, (SELECT count(*) FROM pg_prepared_statements), "
                                    "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')").fetchone()
                assert row is not None
                return row

            before = show()
            relay = outboxd(postgres_dsn=dsn, relay_batch_rows=100)
            relay.start()
            seen = set()
            for first in range(1, 1000, 100):
                with db.connect() as connection:
                    insert_events(connection, 100, first=first, index=index)
                seen.add(show())
            wait_drained(db, "the drain")
            seen.add(show())
    assert seen == {before}, "another client got the relay's settings"


def test_the_pooler_is_killed_and_comes_back(pooler: PgBouncer, db: Database, elastic: Elastic, index: str,
                                             outboxd: OutboxdFactory) -> None:
    history = History()
    relay = outboxd(postgres_dsn=db.dsn_with(port=pooler.port), relay_batch_rows=200, retry_cap="500ms",
                    log_level="debug")
    init(relay)
    with db.connect() as connection:
        insert_events(connection, 8000, keys=1000, deletes=0.1, index=index, history=history)
    relay.start()
    relay.wait_log("worker", on="SETTLED", timeout=30)
    pooler.kill9()
    relay.wait_log("postgres_away", timeout=20)

    pooler.start()

    relay.wait_log("postgres_back", timeout=30)
    wait_drained(db, "the drain to go on")
    assert len(relay.logs("postgres_away")) == 1
    history.assert_matches(elastic, index)


def test_the_server_behind_the_pooler_restarts(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                               outboxd: OutboxdFactory) -> None:
    """Then the pooler itself answers for it, in its own words and without an SQLSTATE of the server."""
    history = History()
    with PgBouncer(postgres, {"server_login_retry": 1}) as pooler:
        relay = outboxd(postgres_dsn=db.dsn_with(port=pooler.port), relay_batch_rows=200, retry_cap="500ms",
                        log_level="debug")
        init(relay)
        with db.connect() as connection:
            insert_events(connection, 8000, keys=1000, deletes=0.1, index=index, history=history)
        relay.start()
        relay.wait_log("worker", on="SETTLED", timeout=30)

        postgres.restart("fast")

        wait_drained(db, "the drain to go on")
    history.assert_matches(elastic, index)


def test_a_pool_without_room(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                             outboxd: OutboxdFactory) -> None:
    """query_wait_timeout: the pooler gives up on us while somebody else keeps its only session."""
    with PgBouncer(postgres, {"default_pool_size": 1, "query_wait_timeout": 1}) as pooler:
        dsn = db.dsn_with(port=pooler.port)
        relay = outboxd(postgres_dsn=dsn, retry_cap="500ms")
        init(outboxd())
        with psycopg.connect(dsn, prepare_threshold=None) as hog:
            hog.execute("SELECT 1")
            db.execute("SELECT outbox_publish(%s, '1', '{\"n\": 1}')", [index])
            relay.start()
            assert "query_wait_timeout" in relay.wait_log("postgres_away", timeout=20)["error"]
        wait_until(lambda: elastic.get(index, "1"), 20, "the event to be delivered")
        assert len(relay.logs("postgres_away")) <= 2
