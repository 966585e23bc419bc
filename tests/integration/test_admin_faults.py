"""The HTTP interface and the counts behind it, when the table, the servers or the clients misbehave."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from admin import COUNT_WAIT, Admin
from conftest import OutboxdFactory
from harness import Answer, Database, Elastic, FaultProxy, ScriptedElastic, wait_until
from harness.ports import HOST, free_port
from helpers import init, publish, undelivered

DEAD_ROW = ("INSERT INTO outbox (aggregate_type, aggregate_id, data, dead_at, error) SELECT %s, n::text, '{}', now(), "
            "jsonb_build_object('index', 'x', 'id', n, 'status', 400, 'type', 't', 'reason', %s::text) FROM generate_series(1, %s) n")
REFUSE = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no'; END$$"
# A worker of the relay at rest, which it ended with ROLLBACK. Whoever counts shows its count, who has just come nothing at all.
WORKER = "state = 'idle' AND query !~ '^(COMMIT|LISTEN|$)'"
REFUSED = ("an expression, a function or a trigger fails on the data of a row (SQLSTATE P0001); the words may quote it, and are "
           "in PostgreSQL's log")


def aborted(db: Database) -> int:
    return int(db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%aborted%'"))


def wait_ready(admin: Admin) -> None:
    wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")


@contextlib.contextmanager
def locked(db: Database) -> Iterator[None]:
    with db.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        yield
        connection.execute("ROLLBACK")


def in_threads(count: int, what: Any) -> tuple[list[threading.Thread], list[Any]]:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(what())) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, found


class TestLockedTable:
    def test_counts_and_questions_go_on_afterwards(self, ready: Any, db: Database, admin: Admin) -> None:
        wait_until(lambda: admin.metric("outboxd_backlog_age_seconds") < 2, COUNT_WAIT, "a count")
        with locked(db):
            ready.wait_log("count_failed", timeout=COUNT_WAIT)
            reply = admin.ask("/dead")
            assert reply.status == 503 and "lock timeout" in reply.text
        assert admin.ask("/dead").status == 200
        assert not aborted(db)
        ready.wait_log("count_works", timeout=80)
        assert admin.metric("outboxd_backlog_age_seconds") < 5
        assert admin.metric('outboxd_errors_total{type="count_failed"}') == 1

    def test_a_wake_up_arrives_afterwards(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        with ScriptedElastic() as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, relay_poll_interval="1h")
            init(daemon, "--notify")
            daemon.start()
            daemon.wait_log("wakeups_work", timeout=30)
            with locked(db):
                assert admin.ask("/dead").status == 503
            wait_ready(admin)
            before = admin.metric("outboxd_wakeups_total")
            publish(db, index, "1", {"n": 1})
            wait_until(lambda: admin.metric("outboxd_wakeups_total") > before, 5, "the wake-up")

    def test_what_was_refused_is_not_done_later(self, ready: Any, db: Database, admin: Admin) -> None:
        db.execute(DEAD_ROW, ["x", "y", 1])
        with locked(db):
            clients = [socket.create_connection((HOST, admin.port)) for _ in range(8)]
            # The first one waits 5 s for the lock, to do nothing then, the others behind it.
            for client, what in zip(clients, (b"POST /requeue?id=0", *[b"GET /dead"] * 7)):
                client.sendall(what + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert admin.ask("/healthz").status == 200  # what was sent before has been read
            assert admin.ask("/requeue?all=1", "POST").text == "too many requests wait already; nothing was done\n"
        for client in clients:
            client.close()
        wait_until(lambda: admin.ask("/dead").status == 200, 20, "a place")
        assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL") == 1

    def test_a_request_whose_client_has_gone_is_not_done(self, ready: Any, db: Database, admin: Admin) -> None:
        with locked(db):
            threads, _ = in_threads(5, lambda: admin.ask("/dead").status)  # each waits a second for the lock
            time.sleep(0.2)
            with socket.create_connection((HOST, admin.port)) as client:
                client.sendall(b"POST /requeue?all=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                time.sleep(0.2)
            time.sleep(1.5)  # that it left is noticed within a second
        for thread in threads:
            thread.join()
        assert admin.ask("/dead").status == 200
        assert not ready.logs("requeued")


class TestWaiting:
    @pytest.mark.time_limit(60)
    def test_looks_of_a_sync_cost_a_tenth_of_the_time(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        with FaultProxy(db.server.port) as slow:
            daemon = outboxd(admin_listen=admin.listen, postgres_dsn=db.dsn_with(port=slow.port),
                             elasticsearch_url=f"http://{HOST}:{free_port()}")
            init(daemon)
            db.execute(f"ALTER DATABASE {db.name} SET log_statement = 'all'")
            publish(db, index, "1", {"n": 1})
            daemon.start()
            daemon.wait_log("elasticsearch_away", timeout=30)
            slow.delay(0.05)  # each way: a look takes 0.1 s or more, so at most one a second is a tenth
            mark, began = db.server.log_file.stat().st_size, time.monotonic()
            assert admin.ask("/sync?timeout=8s", "POST").status == 504
            with db.server.log_file.open() as log:
                log.seek(mark)
                looks = log.read().count(": SELECT EXISTS (")
            assert 1 <= looks <= (time.monotonic() - began) / 1.0 + 2

    def test_clients_that_left_hold_no_places(self, stuck: Any, admin: Admin) -> None:
        clients = [socket.create_connection((HOST, admin.port)) for _ in range(8)]
        for client in clients:
            client.sendall(b"POST /sync?timeout=10m HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: admin.ask("/sync?timeout=1ms", "POST").status == 503, 10, "all places to be taken")
        for client in clients:
            client.close()
        wait_until(lambda: admin.ask("/sync?timeout=1ms", "POST").status == 504, 10, "a place")

    def test_questions_do_not_starve_the_counts(self, ready: Any, admin: Admin) -> None:
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                admin.ask("/dead")

        threads = [threading.Thread(target=ask) for _ in range(6)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: admin.counted_since(began + 1), COUNT_WAIT, "a count beside them")
        finally:
            stop.set()
            for thread in threads:
                thread.join()


class TestHold:
    def test_a_pause_while_a_probe_is_under_way(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def slow(request: Any) -> Answer:
            asked.set()
            go_on.wait(4)
            return Answer(body="{}")

        with ScriptedElastic((), slow) as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url)
            init(daemon)
            publish(db, index, "1", {"n": 1})
            daemon.start()
            daemon.wait_log("admin_listens")
            assert asked.wait(20)
            assert admin.ask("/pause", "POST").status == 200
            go_on.set()
            time.sleep(1)
            assert undelivered(db) == 1 and not elastic.bulks
            admin.ask("/resume", "POST")
            wait_until(lambda: undelivered(db) == 0, 20, "its delivery")


class TestReadiness:
    def test_before_the_first_answer(self, db: Database, outboxd: OutboxdFactory, admin: Admin) -> None:
        go_on = threading.Event()

        def slow(request: Any) -> Answer:
            go_on.wait(4)
            return Answer(body="{}")

        with ScriptedElastic((), slow) as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url)
            init(daemon)
            daemon.start()
            daemon.wait_log("postgres_connected")
            assert admin.ask("/readyz").text == "Elasticsearch has not answered yet\n"
            go_on.set()
            wait_ready(admin)

    def test_a_table_that_is_missing_is_no_server_that_is_away(self, db: Database, outboxd: OutboxdFactory,
                                                               admin: Admin) -> None:
        daemon = outboxd(admin_listen=admin.listen)
        daemon.start()
        daemon.wait_log("table_unfit")
        assert admin.ask("/readyz").text.startswith("the table cannot be used: the table does not exist\n")
        assert admin.get("/status")["postgres"]["state"] == "up"
        assert admin.metric('outboxd_server_up{server="postgres"}') == 1

    @pytest.mark.time_limit(60)
    def test_a_session_that_cannot_come_back_is_no_outage(self, db: Database, outboxd: OutboxdFactory, index: str,
                                                          admin: Admin) -> None:
        with ScriptedElastic() as elastic:
            init(outboxd())
            db.execute("CREATE ROLE few LOGIN")
            db.execute("GRANT ALL ON outbox TO few")
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url,
                             postgres_dsn=db.dsn_with(user="few"), relay_poll_interval="100ms")
            sessions = "FROM pg_stat_activity WHERE usename = 'few'"
            try:
                daemon.start()
                daemon.wait_log("admin_listens")
                wait_ready(admin)
                wait_until(lambda: db.value(f"SELECT count(*) {sessions}") == 5, 20, "all sessions")
                db.execute("ALTER ROLE few CONNECTION LIMIT 4")
                wait_until(lambda: db.execute(f"SELECT pg_terminate_backend(pid) {sessions} AND {WORKER} LIMIT 1"), 20, "a worker at rest")
                daemon.wait_log("postgres_away", timeout=20)
                publish(db, index, "1", {"n": 1})
                wait_until(lambda: undelivered(db) == 0, 20, "its delivery")
                wait_ready(admin)
                daemon.wait_log("session_refused", timeout=20)
            finally:
                daemon.close()
                db.execute("DROP OWNED BY few")
                db.execute("DROP ROLE few")

    def test_a_settlement_failed_and_its_event_is_gone(self, db: Database, outboxd: OutboxdFactory, index: str,
                                                       admin: Admin) -> None:
        with ScriptedElastic() as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, retry_cap="1s")
            init(daemon)
            daemon.start()
            daemon.wait_log("admin_listens")
            wait_ready(admin)
            db.execute(REFUSE)
            db.execute("CREATE TRIGGER refuse BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()")
            publish(db, index, "1", {"n": 1})
            daemon.wait_log("sql_failed")
            assert admin.ask("/readyz").text == f"PostgreSQL refuses: {REFUSED}\n"
            db.execute("DROP TRIGGER refuse ON outbox")
            db.execute("DELETE FROM outbox")
            wait_ready(admin)

    def test_wrong_credentials_and_an_empty_queue(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        denial = Answer(status=401, body='{"error":{"type":"security_exception","reason":"unable"},"status":401}')
        allowed = threading.Event()

        def answer(request: Any) -> Answer | None:
            return None if allowed.is_set() else denial

        with ScriptedElastic(answer, answer) as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, retry_cap="1s")
            init(daemon)
            daemon.start()
            daemon.wait_log("elasticsearch_denies", timeout=20)
            assert admin.ask("/readyz").text == "Elasticsearch denies access: HTTP 401 security_exception: unable\n"
            allowed.set()
            wait_ready(admin)
            assert not daemon.logs("elasticsearch_away")

    def test_a_proxy_that_lets_only_bulk_requests_through(self, db: Database, outboxd: OutboxdFactory, index: str,
                                                          admin: Admin) -> None:
        with ScriptedElastic((), lambda request: Answer(status=401, body="")) as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, retry_cap="1h")
            init(daemon)
            daemon.start()
            daemon.wait_log("elasticsearch_denies", timeout=20)
            publish(db, index, "1", {"n": 1})
            wait_until(lambda: undelivered(db) == 0, 20, "its delivery")  # though the next attempt may be an hour away
            wait_ready(admin)
            signs = len(elastic.requests)
            wait_until(lambda: len(elastic.requests) > signs, 20, "the next sign of life")
            assert admin.ask("/readyz").status == 200
            assert len(daemon.logs("elasticsearch_denies")) == 1 and not daemon.logs("elasticsearch_away")

    def test_such_a_proxy_and_a_backlog_at_the_start(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        with ScriptedElastic((), lambda request: Answer(status=401, body="")) as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url)
            init(daemon)
            publish(db, index, "1", {"n": 1})
            daemon.start()
            wait_until(lambda: undelivered(db) == 0, 20, "its delivery")
            wait_ready(admin)
            signs = len(elastic.requests)
            wait_until(lambda: len(elastic.requests) > signs + 1, 40, "the next signs of life")
            assert not daemon.logs("elasticsearch_denies") and admin.ask("/readyz").status == 200

    def test_credentials_that_are_mended_and_broken_again(self, db: Database, outboxd: OutboxdFactory, index: str,
                                                          admin: Admin) -> None:
        wrong = threading.Event()

        def answer(request: Any) -> Answer | None:
            return Answer(status=401, body="") if wrong.is_set() else None

        with ScriptedElastic(answer, answer) as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, retry_cap="500ms")
            init(daemon)
            wrong.set()
            daemon.start()
            daemon.wait_log("elasticsearch_denies", timeout=20)
            publish(db, index, "1", {"n": 1})
            daemon.wait_log("elasticsearch_away", timeout=20)
            wrong.clear()
            wait_until(lambda: undelivered(db) == 0, 20, "its delivery")
            wrong.set()
            wait_until(lambda: len(daemon.logs("elasticsearch_denies")) == 2, 30, "that it is wrong again")
            assert admin.ask("/readyz").status == 503

    def test_the_servers_own_words_need_the_token(self, db: Database, outboxd: OutboxdFactory, tmp_path: Any) -> None:
        (tmp_path / "token").write_text("s3cret\n")
        admin = Admin("s3cret")
        daemon = outboxd(admin_listen=admin.listen, admin_token_file=tmp_path / "token",
                         postgres_dsn="host=127.0.0.1 port=1 dbname=internal-name")
        daemon.start()
        daemon.wait_log("postgres_away", timeout=20)
        assert admin.ask("/readyz", Authorization="").text.splitlines()[0] == "PostgreSQL is away"
        assert "refused" in admin.ask("/readyz").text


class TestStrangeRows:
    def test_infinite_and_future_times(self, ready: Any, db: Database, index: str, admin: Admin) -> None:
        admin.ask("/pause", "POST")
        for name in ("1", "2", "3"):
            publish(db, index, name, {"n": 1})
        db.execute("UPDATE outbox SET created_at = CASE id % 3 WHEN 0 THEN '-infinity' WHEN 1 THEN 'infinity' "
                   "ELSE now() + interval '1 hour' END")
        wait_until(lambda: admin.metric("outboxd_pending_events") == 3, COUNT_WAIT, "the count")
        assert admin.metric("outboxd_oldest_pending_seconds") < 30
        assert admin.get("/status")["backlog"]["pending"] == 3
        db.execute("UPDATE outbox SET created_at = now() - interval '1 minute' WHERE id % 3 = 2")
        wait_until(lambda: admin.metric("outboxd_oldest_pending_seconds") >= 60, COUNT_WAIT, "the oldest one with a time")

    @pytest.mark.parametrize("time_of_head", ["'infinity'", "now() + interval '1 hour'"])
    def test_a_strange_time_does_not_hide_those_behind_it(self, ready: Any, db: Database, index: str, admin: Admin,
                                                          time_of_head: str) -> None:
        admin.ask("/pause", "POST")
        for _ in range(3):
            publish(db, index, "same", {"n": 1})  # one lane
        db.execute(f"UPDATE outbox SET created_at = CASE WHEN id = 1 THEN {time_of_head} ELSE now() - interval '1 hour' END")
        wait_until(lambda: 3600 <= admin.metric("outboxd_oldest_pending_seconds") < 3700, COUNT_WAIT, "a count of after the change")
        assert admin.metric("outboxd_pending_events") == 3

    def test_given_up_by_hand_without_an_error(self, ready: Any, db: Database, elastic: Elastic, index: str, admin: Admin) -> None:
        """It is in no error's count, and still is not delivered: nothing may hide it."""
        admin.ask("/pause", "POST")
        ids = [publish(db, index, str(n), {"n": n}) for n in range(2)]
        db.execute("UPDATE outbox SET dead_at = CASE WHEN id = 1 THEN now() ELSE 'infinity' END")
        wait_until(lambda: admin.metric("outboxd_dead_events") == 2, COUNT_WAIT, "the count")
        assert admin.get("/status")["dead_reasons"] == [{"type": "", "count": 2, "first_id": 1}]
        listed = admin.get("/dead")["dead"]
        assert [each["id"] for each in listed] == ids and listed[1]["dead_at"] == "infinity"
        assert listed[0]["type"] is None and "not set by outboxd" in listed[0]["reason"]
        for command in (["dead"], ["dead", "1"], ["dead", "2"]):
            done = ready.run(*command)
            assert done.exit_code == 0 and "not set by outboxd" in done.stdout
        admin.ask("/resume", "POST")
        assert ready.run("requeue", "--all").stdout == "2 events requeued\n"
        wait_until(lambda: undelivered(db) == 0, 20, "their delivery")

    def test_dead_rows_are_found_by_an_index(self, ready: Any, db: Database) -> None:
        """Also those without an error; a look at a table of many delivered rows must not read them."""
        with db.connect() as connection:
            connection.execute("SET enable_seqscan = off")
            plan = connection.execute("EXPLAIN SELECT count(*) FROM outbox o WHERE o.processed = false AND o.dead_at IS NOT NULL")
            assert "outbox_parked" in "\n".join(line for (line,) in plan)

    def test_a_count_reads_what_is_pending_once(self, ready: Any, db: Database, admin: Admin) -> None:
        """With statistics of before the backlog: those that wait for another attempt are not looked for among all."""
        admin.ask("/pause", "POST")
        db.execute("ALTER TABLE outbox SET (autovacuum_enabled = off)")
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, dead_at, error) SELECT 'x', n::text, now(), '{\"id\": \"1\"}' "
                   "FROM generate_series(1, 400) n")
        db.execute("ANALYZE outbox")
        fetched = "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'outbox'"
        before = db.value(fetched)
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id) SELECT 'x', n::text FROM generate_series(1, 100000) n")
        wait_until(lambda: admin.metric("outboxd_pending_events") == 100_000, COUNT_WAIT, "the count")
        wait_until(lambda: db.value(fetched) - before >= 100_000, 30, "statistics")
        assert db.value(fetched) - before < 150_000

    def test_a_long_id_is_cut_in_the_list(self, ready: Any, db: Database, admin: Admin) -> None:
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data, dead_at, error) SELECT 'x', '1', '{}', now(), "
                   "jsonb_build_object('index', repeat('i', 100000), 'id', repeat('x', 100000), 'type', repeat('t', 100000), "
                   "'reason', repeat('r', 100000), 'status', 'none') FROM generate_series(1, 50)")
        for each in admin.get("/dead")["dead"]:
            assert (len(each["index"]), len(each["document_id"]), len(each["type"]), len(each["reason"])) == (600, 600, 200, 1000)
            assert each["status"] is None

    @pytest.mark.time_limit(240)
    def test_a_count_that_fails_midway_changes_nothing(self, db: Database, outboxd: OutboxdFactory, index: str,
                                                       admin: Admin) -> None:
        db.execute("CREATE SCHEMA shadow")
        daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=f"http://{HOST}:{free_port()}",
                         postgres_dsn=db.dsn_with(options="-c search_path=shadow,public,pg_catalog"))
        init(outboxd())
        publish(db, index, "1", {"n": 1})
        daemon.start()
        daemon.wait_log("admin_listens")
        wait_until(lambda: admin.metric("outboxd_pending_events") == 1, COUNT_WAIT, "the count")
        # Which comes after the backlog in the same transaction.
        db.execute("CREATE VIEW shadow.pg_replication_slots AS SELECT ''::text AS slot_name, 1 AS active_pid, "
                   "(1 / (random() * 0)::int)::text::xid AS xmin")
        publish(db, index, "2", {"n": 1})
        daemon.wait_log("count_failed", timeout=COUNT_WAIT)
        assert admin.metric("outboxd_pending_events") == 1
        assert admin.get("/status")["backlog"]["pending"] == 1
        db.execute("DROP VIEW shadow.pg_replication_slots")
        wait_until(lambda: admin.metric("outboxd_pending_events") == 2, COUNT_WAIT, "the next count")

    def test_nothing_is_known_before_the_first_count(self, db: Database, outboxd: OutboxdFactory, admin: Admin) -> None:
        daemon = outboxd(admin_listen=admin.listen, postgres_dsn="host=127.0.0.1 port=1")
        daemon.start()
        daemon.wait_log("admin_listens")
        text = admin.ask("/metrics").text
        assert "\noutboxd_pending_events " not in text and "\noutboxd_dead_events " not in text
        assert "\noutboxd_backlog_age_seconds " in text
        assert admin.get("/status")["backlog"]["known"] is False

    def test_a_list_that_is_too_large_is_not_cut(self, ready: Any, db: Database, admin: Admin) -> None:
        db.execute(DEAD_ROW, ["x", "\x01" * 4000, 1000])  # each byte is six in JSON
        reply = admin.ask("/dead?limit=1000")
        assert reply.status == 500 and "ask for less" in reply.text
        assert len(admin.get("/dead?limit=100")["dead"]) == 100

    def test_a_long_trouble_is_cut_between_characters(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        refused = json.dumps({"error": {"type": "odd", "reason": "ä" * 300}, "status": 503}, ensure_ascii=False)
        with ScriptedElastic(lambda request: Answer(status=503, body=refused.encode())) as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url)
            init(daemon)
            daemon.start()
            daemon.wait_log("admin_listens")
            publish(db, index, "1", {"n": 1})
            daemon.wait_log("elasticsearch_away")
            said = "HTTP 503 odd: " + "ä" * 300
            told = said.encode()[:254].decode()  # of 255 that there is room for: the last one would be half a character
            assert f"Elasticsearch is away: {told}\n" in admin.ask("/readyz").text
            assert told in json.dumps(admin.get("/status")["reasons"], ensure_ascii=False)


class TestRequeue:
    def test_what_was_not_committed_is_not_told_as_done(self, ready: Any, db: Database, elastic: Elastic, admin: Admin) -> None:
        db.execute(DEAD_ROW, ["x", "y", 1])
        db.execute(REFUSE)
        db.execute("CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON outbox DEFERRABLE INITIALLY DEFERRED "
                   "FOR EACH ROW EXECUTE FUNCTION refuse()")
        reply = admin.ask("/requeue?all=1", "POST")
        assert reply.status == 503 and reply.text == f"{REFUSED}; nothing was done\n"
        assert not ready.logs("requeued")
        assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL") == 1
        assert admin.ask("/dead").status == 200
