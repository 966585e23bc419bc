"""One of the relay's sessions fails, is refused, led elsewhere or held up, while the others work: nothing stands still,
and what is said is true."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from admin import COUNT_WAIT, Admin
from conftest import OutboxdFactory
from harness import Answer, Database, Elastic, FaultProxy, Postgres, ScriptedElastic, wait_until
from helpers import dead, drain, init, publish, publish_many, undelivered
from test_admin_faults import REFUSE, WORKER, locked, wait_ready
from test_failover import Pair, pair  # noqa: F401

KEEPER = "state = 'idle' AND query ~ '^(COMMIT|LISTEN)'"  # not while it counts


class Few:
    """A relay whose role the test can limit, while it runs."""

    def __init__(self, db: Database, daemon: Any) -> None:
        self.db = db
        self.daemon = daemon

    def sessions(self) -> int:
        return int(self.db.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'few'"))

    def lose_one(self, which: str) -> None:
        wait_until(lambda: self.db.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few' AND {which} LIMIT 1"), 20, "such a session at rest")


@pytest.fixture
def few(db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> Iterator[Few]:
    with ScriptedElastic() as elastic:
        init(outboxd())
        db.execute("CREATE ROLE few LOGIN")
        db.execute("GRANT ALL ON outbox TO few")
        daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, postgres_dsn=db.dsn_with(user="few"),
                         relay_poll_interval="100ms", retry_cap="500ms")
        try:
            daemon.start()
            daemon.wait_log("admin_listens")
            wait_ready(admin)
            relay = Few(db, daemon)
            wait_until(lambda: relay.sessions() == 5, 20, "all sessions")
            yield relay
        finally:
            daemon.close()
            db.execute("DROP OWNED BY few")
            db.execute("DROP ROLE few")


class TestKeeper:
    @contextlib.contextmanager
    def held_up(self, db: Database) -> Iterator[None]:
        """Writes wait, reads do not: as while an index is built."""
        with db.connect() as connection:
            connection.execute("BEGIN")
            connection.execute("LOCK TABLE outbox IN SHARE MODE")
            yield
            connection.execute("ROLLBACK")

    @pytest.fixture
    def purging(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> Any:
        daemon = outboxd(admin_listen=admin.listen, relay_poll_interval="50ms", retention_keep="1s", retention_interval="10s")
        init(daemon)
        daemon.start()
        daemon.wait_log("admin_listens")
        publish(db, index, "1", {"n": 1})
        wait_until(lambda: undelivered(db) == 0, 20, "its delivery")
        return daemon

    def test_a_purge_that_must_wait_gives_way(self, purging: Any, db: Database, admin: Admin) -> None:
        with self.held_up(db):
            purging.wait_log("purge_failed", timeout=30)
            began = time.monotonic()
            wait_until(lambda: admin.counted_since(began), COUNT_WAIT, "counts to go on")
            assert admin.ask("/dead").status == 200
            wait_until(lambda: not db.value("SELECT count(*) FROM pg_locks WHERE NOT granted"), 10, "nobody to wait, but for the next try")
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'DELETE FROM'"
            wait_until(lambda: db.value(waits), 30, "the next try", every=0.05)
            wait_until(lambda: not db.value(waits), 30, "its end")
        purging.wait_log("purge_works", timeout=30)
        assert len(purging.logs("purge_failed")) == 1
        purging.wait_log("purged", timeout=30)

    def test_a_purge_whose_session_is_lost_is_not_next_again(self, purging: Any, db: Database, admin: Admin) -> None:
        waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'DELETE FROM'"
        with self.held_up(db):
            wait_until(lambda: db.value(f"SELECT count(pg_terminate_backend(pid)) {waiting}") == 1, 30, "the purge", every=0.05)
            purging.wait_log("purge_failed", timeout=5)
            began = time.monotonic()
            wait_until(lambda: admin.counted_since(began), COUNT_WAIT, "a count")
            assert len(purging.logs("purge_failed")) == 1

    @pytest.mark.time_limit(240)
    def test_a_count_comes_again_soon_however_long_the_last_one_hung(self, ready: Any, db: Database, admin: Admin) -> None:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '^WITH refused AS MATERIALIZED'"
        with locked(db):
            wait_until(lambda: db.value(waiting), 90, "the count", every=0.05)
            ready.pause()
            wait_until(lambda: not db.value(waiting), 30, "the server to end its wait")
            time.sleep(3)
        ready.resume()
        ready.wait_log("count_failed", timeout=10)
        ready.wait_log("count_works", timeout=40)

    def test_a_keeper_that_is_refused_is_said(self, few: Few, db: Database, index: str, admin: Admin) -> None:
        db.execute("ALTER ROLE few CONNECTION LIMIT 4")
        few.lose_one(KEEPER)
        few.daemon.wait_log("session_refused", timeout=20)
        assert admin.ask("/readyz").status == 200
        assert admin.ask("/dead").status == 503
        db.execute("ALTER ROLE few CONNECTION LIMIT 5")
        wait_until(lambda: admin.ask("/dead").status == 200, 20, "its session")

    def test_a_keeper_that_met_a_standby_listens_once_it_is_promoted(self, pair: Pair, outboxd: OutboxdFactory,  # noqa: F811
                                                                     admin: Admin) -> None:
        with ScriptedElastic() as elastic:
            init(outboxd(postgres_dsn=pair.db.dsn), "--notify")
            pair.wait_caught_up()
            relay = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, postgres_dsn=pair.new_db.dsn,
                            retry_cap="500ms", relay_poll_interval="1h")
            relay.start()
            relay.wait_log("table_unfit", timeout=20)
            pair.fail_over()
            relay.wait_log("wakeups_work", timeout=30)
            wait_ready(admin)
            assert not relay.logs("count_failed")


class TestOneSessionOfMany:
    def test_one_that_is_led_to_a_standby(self, few: Few, db: Database, index: str, admin: Admin) -> None:
        db.execute("ALTER ROLE few SET default_transaction_read_only = on")
        few.lose_one(WORKER)
        few.daemon.wait_log("session_refused", timeout=20, error="the server is read-only, a standby?")
        publish(db, index, "1", {"n": 1})
        wait_until(lambda: undelivered(db) == 0, 20, "its delivery")
        wait_ready(admin)
        assert not few.daemon.logs("table_unfit")

    def test_one_that_finds_no_table(self, few: Few, db: Database, index: str, admin: Admin) -> None:
        db.execute("ALTER ROLE few SET search_path = elsewhere")
        few.lose_one(WORKER)
        few.daemon.wait_log("table_unfit", timeout=20)
        publish(db, index, "1", {"n": 1})
        wait_until(lambda: undelivered(db) == 0, 20, "its delivery")
        few.daemon.wait_log("table_fit", timeout=5)
        for number in range(20):
            publish(db, index, str(number), {"n": 1})
            wait_until(lambda: undelivered(db) == 0, 20, "its delivery")
            time.sleep(0.2)
        assert len(few.daemon.logs("table_unfit")) == 1, "it is not said again and again"


class TestSettlement:
    def test_its_event_is_gone_and_another_waits(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        with ScriptedElastic() as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, retry_cap="1s")
            init(daemon)
            daemon.start()
            daemon.wait_log("admin_listens")
            wait_ready(admin)
            db.execute(REFUSE)
            db.execute("CREATE TRIGGER refuse BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()")
            event = publish(db, index, "1", {"n": 1})
            daemon.wait_log("sql_failed")
            db.execute("DROP TRIGGER refuse ON outbox")
            db.execute("DELETE FROM outbox WHERE id = %s", [event])
            db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data, retry_at) "
                       "VALUES (%s, '2', '{}', now() + interval '1 hour')", [index])
            wait_ready(admin)


class TestStop:
    """A claim of 40 events in requests of one each, held in the middle of them."""

    @pytest.fixture
    def held(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> Iterator[tuple[Any, ScriptedElastic, threading.Event]]:
        third, go_on = threading.Event(), threading.Event()

        def slow(request: Any) -> Answer | None:
            if len(elastic.bulks) >= 3:
                third.set()
                go_on.wait(20)
            return None

        with ScriptedElastic(slow) as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, relay_workers=1, relay_batch_bytes="64kB")
            init(daemon)
            publish_many(db, index, [(str(n), {"text": "x" * 70_000}) for n in range(40)])
            daemon.start()
            assert third.wait(30)
            yield daemon, elastic, go_on
            go_on.set()

    def check(self, db: Database, elastic: ScriptedElastic) -> None:
        wait_until(lambda: undelivered(db) == 40 - sum(len(request.actions) for request in elastic.bulks), 20,
                   "what was sent to be settled, the rest to be given back")
        assert len(elastic.bulks) == 3

    def test_a_pause_in_mid_claim(self, held: Any, db: Database, admin: Admin) -> None:
        daemon, elastic, go_on = held
        assert admin.ask("/pause", "POST").status == 200
        go_on.set()
        self.check(db, elastic)
        admin.ask("/resume", "POST")
        wait_until(lambda: undelivered(db) == 0, 20, "the rest")

    def test_a_stop_in_mid_claim(self, held: Any, db: Database) -> None:
        daemon, elastic, go_on = held
        daemon.signal(15)
        daemon.wait_log("stopping")
        go_on.set()
        assert daemon.wait().exit_code == 0
        self.check(db, elastic)


def test_a_table_goes_while_elasticsearch_is_probed(db: Database, outboxd: OutboxdFactory, index: str) -> None:
    with ScriptedElastic(lambda request: Answer(status=503, body="") if not works.is_set() else None) as elastic:
        works = threading.Event()
        daemon = outboxd(elasticsearch_url=elastic.url, relay_workers=1, retry_cap="1s")
        init(daemon)
        publish(db, index, "1", {"n": 1})
        daemon.start()
        daemon.wait_log("elasticsearch_away", timeout=20)
        db.execute("ALTER TABLE outbox RENAME TO gone")
        daemon.wait_log("table_unfit", timeout=20)
        works.set()
        db.execute("ALTER TABLE gone RENAME TO outbox")
        wait_until(lambda: undelivered(db) == 0, 30, "its delivery")


def test_ids_of_zero_and_below_are_not_overlooked(db: Database, elastic: Elastic, outboxd: OutboxdFactory, index: str) -> None:
    daemon = outboxd()
    init(daemon)
    db.execute("INSERT INTO outbox (id, aggregate_type, aggregate_id, data) OVERRIDING SYSTEM VALUE "
               "SELECT n, %s, n::text, '{}' FROM generate_series(-1, 1) n", [index])
    drain(daemon, expect=65)
    assert set(dead(db)) == {-1}
    assert "version is negative" in dead(db)[-1]["reason"]
    assert undelivered(db) == 1


@pytest.mark.time_limit(90)
def test_a_postgres_that_freezes_in_mid_claim_is_noticed(postgres: Postgres, db: Database, outboxd: OutboxdFactory, index: str,
                                                         admin: Admin) -> None:
    with ScriptedElastic() as elastic, FaultProxy(postgres.port) as proxy:
        daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, elasticsearch_timeout="1s",
                         postgres_dsn=db.dsn_with(port=proxy.port), relay_poll_interval="50ms")
        init(daemon)
        daemon.start()
        daemon.wait_log("admin_listens")
        wait_ready(admin)
        proxy.stall()
        wait_until(lambda: admin.ask("/readyz").status == 503, 40, "the silence to be noticed", every=0.5)
        proxy.pass_all()
        wait_ready(admin)
