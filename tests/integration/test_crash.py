"""kill -9 and restarts at the worst moment: nothing lost, nothing older, and it goes on by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import Database, Elastic, FaultProxy, History, Outboxd, Postgres, ScriptedElastic, insert_events, wait_until
from harness.scripted_elastic import Answer
from harness.workload import MAPPINGS

OutboxdFactory = Callable[..., Outboxd]
EVENTS = 4000


def is_drained(db: Database) -> bool:
    return bool(db.value("SELECT NOT EXISTS (SELECT FROM outbox WHERE NOT processed)"))


@pytest.mark.parametrize("state", ["CONNECTING", "INSPECTING", "IDLE", "PROBING", "CLAIMING", "SENDING", "SETTLING",
                                   "ROLLING_BACK"])
def test_kill_9_in_each_state(state: str, postgres: Postgres, db: Database, elastic: Elastic, index: str,
                              outboxd: OutboxdFactory) -> None:
    history = History()
    with FaultProxy(postgres.port) as slow_postgres, FaultProxy(elastic.port) as slow_elastic:
        relay = outboxd(postgres_dsn=db.dsn_with(port=slow_postgres.port), elasticsearch_url=slow_elastic.url,
                        log_level="debug", relay_workers=2)
        assert outboxd().run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, EVENTS, keys=900, deletes=0.1, index=index, history=history)
        for proxy in (slow_postgres, slow_elastic):
            proxy.delay(0.03)
        relay.start()
        relay.wait_log("worker", to=state, timeout=60)

        relay.kill9()

    done = outboxd().run_once()
    assert done.exit_code == 0
    assert is_drained(db)
    history.assert_matches(elastic, index)


def test_kill_9_while_it_looks_for_rows_whose_mapping_fails(postgres: Postgres, db: Database, index: str,
                                                            outboxd: OutboxdFactory) -> None:
    """The search is one transaction: nothing of it stays, and the next relay finds the rows again."""
    mapping = "o.data || jsonb_build_object('n', 1 / (o.aggregate_id <> '7')::int)"
    with FaultProxy(postgres.port) as slow_postgres:
        relay = outboxd(postgres_dsn=db.dsn_with(port=slow_postgres.port), log_level="debug", outbox_document=mapping)
        assert outboxd().run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, 100, index=index)
        slow_postgres.delay(0.05)
        relay.start()
        relay.wait_log("worker", to="SIEVING", timeout=60)

        relay.kill9()

    assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL") <= 1
    assert outboxd(outbox_document=mapping).run_once().exit_code == 65
    assert db.value("SELECT count(*) FROM outbox WHERE processed") == 99


def test_kill_9_while_it_asks_whether_anything_is_left(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                                       outboxd: OutboxdFactory) -> None:
    history = History()
    with FaultProxy(postgres.port) as slow_postgres:
        relay = outboxd(postgres_dsn=db.dsn_with(port=slow_postgres.port), log_level="debug")
        assert outboxd().run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, 100, index=index, history=history)
        slow_postgres.delay(0.02)
        relay.start("--once")
        relay.wait_log("worker", to="CHECKING", timeout=60)

        relay.kill9()

    assert is_drained(db)
    history.assert_matches(elastic, index)


def test_kill_9_again_and_again(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    history = History()
    relay = outboxd(log_level="debug", relay_batch_rows=300)
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 20_000, keys=2000, deletes=0.1, index=index, history=history)
    kills = 0
    for kills in range(1, 11):
        relay.start()
        relay.wait_log("worker", on="SETTLED", timeout=60)
        relay.kill9()

    assert kills == 10
    assert relay.run_once().exit_code == 0
    history.assert_matches(elastic, index)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_restarts_in_mid_drain(mode: str, postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                        outboxd: OutboxdFactory) -> None:
    history = History()
    relay = outboxd(log_level="debug", relay_batch_rows=300, retry_cap="500ms")
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 30_000, keys=3000, deletes=0.1, index=index, history=history)
    relay.start()
    relay.wait_log("worker", on="SETTLED", timeout=60)

    postgres.restart(mode)

    relay.wait_log("postgres_back", timeout=60)
    wait_until(lambda: is_drained(db), 60, "the drain to go on after the restart")
    assert len(relay.logs("postgres_away")) >= 1
    history.assert_matches(elastic, index)


@pytest.mark.time_limit(240)
@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_elasticsearch_restarts_in_mid_drain(how: str, db: Database, elastic: Elastic, index: str,
                                             outboxd: OutboxdFactory) -> None:
    history = History()
    elastic.create_index(index, MAPPINGS)
    relay = outboxd(log_level="debug", relay_batch_rows=300, retry_cap="1s")
    assert relay.run("init").exit_code == 0
    with db.connect() as connection:
        insert_events(connection, 30_000, keys=3000, deletes=0.1, index=index, history=history)
    relay.start()
    relay.wait_log("worker", on="SETTLED", timeout=60)

    getattr(elastic, how)()
    relay.wait_log("elasticsearch_away", timeout=60)
    # Nothing is held while waiting: no transaction, no row lock, no advisory lock.
    wait_until(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                                "AND application_name = 'outboxd' AND xact_start IS NOT NULL "
                                "AND pid <> pg_backend_pid()") == 0, 30, "the open claims to be given back")
    assert db.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    elastic.start()

    wait_until(lambda: is_drained(db), 90, "the drain to go on after the restart")
    assert len(relay.logs("elasticsearch_away")) == len(relay.logs("elasticsearch_back")) >= 1
    assert db.value("SELECT max(attempts) FROM outbox") == 0, "an outage counts no attempt"
    history.assert_matches(elastic, index)


def test_sigterm_finishes_what_is_in_flight(db: Database, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic(lambda request: Answer(delay=1.0)) as slow:
        relay = outboxd(elasticsearch_url=slow.url, relay_workers=1)
        assert relay.run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, 100)
        relay.start()
        slow.wait_bulks(1, timeout=30)

        done = relay.terminate()

    assert done.exit_code == 0
    sent = sum(len(bulk.actions) for bulk in slow.bulks)
    assert db.value("SELECT count(*) FROM outbox WHERE processed") == sent > 0


def test_sigterm_rolls_back_what_does_not_finish(db: Database, outboxd: OutboxdFactory) -> None:
    with ScriptedElastic(lambda request: Answer(delay=20.0)) as stuck:
        relay = outboxd(elasticsearch_url=stuck.url, relay_shutdown_timeout="300ms")
        assert relay.run("init").exit_code == 0
        with db.connect() as connection:
            insert_events(connection, 100)
        relay.start()
        stuck.wait_bulks(1, timeout=30)

        done = relay.terminate(timeout=10)

    assert done.exit_code == 0
    assert len(done.logs("shutdown_timeout")) == 1
    assert db.value("SELECT count(*) FROM outbox WHERE processed") == 0
