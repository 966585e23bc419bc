"""The HTTP interface: what it says is true, whoever may ask may, and a hostile client costs nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness import Answer, Database, Elastic, ScriptedElastic, wait_until
from harness.bulk import bulk_answer
from harness.ports import HOST, free_port
from harness.scripted_elastic import Request

from conftest import OutboxdFactory
from admin import COUNT_WAIT, Admin, read_metrics
from helpers import init, publish, publish_many
from test_admin_clients import connect, read_all


class TestReadiness:
    def test_both_servers_work(self, ready: Any, admin: Admin) -> None:
        assert admin.ask("/readyz").text == "ok\n"
        assert admin.ask("/healthz").text == "ok\n"

    def test_elasticsearch_is_away_and_the_queue_is_empty(self, db: Database, outboxd: OutboxdFactory,
                                                          admin: Admin) -> None:
        daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=f"http://{HOST}:{free_port()}")
        init(daemon)
        daemon.start()
        daemon.wait_log("elasticsearch_away", timeout=30)
        reply = admin.ask("/readyz")
        assert reply.status == 503 and "Elasticsearch is away: " in reply.text and "unreachable" in reply.text
        assert admin.ask("/healthz").status == 200

    @pytest.mark.time_limit(60)
    def test_an_idle_relay_finds_out_that_elasticsearch_went_away(self, db: Database, outboxd: OutboxdFactory,
                                                                  admin: Admin) -> None:
        with ScriptedElastic() as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url)
            init(daemon)
            daemon.start()
            daemon.wait_log("admin_listens")
            wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")
        wait_until(lambda: admin.ask("/readyz").status == 503, 30, "the outage to be seen")

    def test_the_table_was_dropped(self, ready: Any, db: Database, admin: Admin) -> None:
        db.execute("ALTER TABLE outbox RENAME TO gone")
        wait_until(lambda: "the table cannot be used: the table does not exist" in admin.ask("/readyz").text, 30,
                   "the reason")
        assert admin.ask("/readyz").status == 503
        db.execute("ALTER TABLE gone RENAME TO outbox")
        wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")

    def test_a_column_was_dropped(self, ready: Any, db: Database, admin: Admin) -> None:
        db.execute("ALTER TABLE outbox RENAME COLUMN attempts TO tries")
        wait_until(lambda: "the table lacks columns of outboxd" in admin.ask("/readyz").text, 30, "the reason")
        db.execute("ALTER TABLE outbox RENAME COLUMN tries TO attempts")
        wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")

    def test_a_column_of_the_mapping_was_dropped(self, ready: Any, db: Database, index: str, admin: Admin) -> None:
        db.execute("ALTER TABLE outbox RENAME COLUMN aggregate_type TO kind")
        wait_until(lambda: "aggregate_type" in admin.ask("/readyz").text, 30, "the reason")
        assert admin.ask("/readyz").text.startswith("PostgreSQL refuses: ")
        db.execute("ALTER TABLE outbox RENAME COLUMN kind TO aggregate_type")
        wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")

    def test_postgres_is_away(self, ready: Any, db: Database, admin: Admin) -> None:
        db.server.stop("immediate")
        try:
            wait_until(lambda: "PostgreSQL is away: " in admin.ask("/readyz").text, 30, "the reason")
            assert admin.ask("/dead").status == 503
            assert admin.get("/status")["postgres"]["state"] == "away"
        finally:
            db.server.start()
        wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")


class TestMetrics:
    def test_what_was_counted_is_what_happened(self, ready: Any, db: Database, elastic: Elastic, index: str,
                                               admin: Admin) -> None:
        elastic.create_index(index, {"properties": {"n": {"type": "long"}}})
        publish_many(db, index, [(str(n), {"n": n}) for n in range(40)])
        publish(db, index, "bad", {"n": "seven"})
        wait_until(lambda: admin.metric('outboxd_events_total{verdict="delivered"}') == 40, 30, "deliveries")
        wait_until(lambda: admin.metric("outboxd_dead_events") == 1, COUNT_WAIT, "the count of dead events")
        found = read_metrics(admin.ask("/metrics").text)
        assert found["outboxd_delivery_seconds_count"] == 40
        assert found['outboxd_delivery_seconds_bucket{le="+Inf"}'] == 40
        assert found["outboxd_delivery_seconds_sum"] > 0
        assert found['outboxd_events_total{verdict="dead"}'] == 1
        assert found["outboxd_claimed_events_total"] == sum(
            value for name, value in found.items() if name.startswith("outboxd_events_total"))
        assert found['outboxd_bulk_requests_total{outcome="accepted"}'] >= 1
        assert found["outboxd_bulk_seconds_count"] == found["outboxd_bulk_bytes_count"]
        assert time.time() - 60 < found["outboxd_last_delivery_timestamp_seconds"] <= time.time()
        assert found["outboxd_ready"] == 1 and found['outboxd_server_up{server="postgres"}'] == 1
        assert sum(value for name, value in found.items() if name.startswith("outboxd_worker_state")) == 4
        assert found["process_resident_memory_bytes"] > 1_000_000 and found["process_open_fds"] > 5

    def test_lag_grows_while_nothing_moves(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=f"http://{HOST}:{free_port()}")
        init(daemon)
        publish(db, index, "1", {"n": 1})
        db.execute("UPDATE outbox SET created_at = now() - interval '1 hour'")
        publish(db, index, "2", {"n": 1})
        daemon.start()
        daemon.wait_log("admin_listens")
        wait_until(lambda: admin.metric("outboxd_pending_events") == 2, COUNT_WAIT, "the count")
        first = admin.metric("outboxd_oldest_pending_seconds")
        time.sleep(0.2)
        second = admin.metric("outboxd_oldest_pending_seconds")
        assert 3600 <= first < 3700 and first + 0.15 < second < first + 60
        assert admin.metric('outboxd_errors_total{type="elasticsearch_away"}') == 1

    def test_both_text_formats(self, ready: Any, admin: Admin) -> None:
        plain = admin.ask("/metrics")
        assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "# EOF" not in plain.text and "# TYPE outboxd_events_total counter" in plain.text
        openmetrics = admin.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
        assert openmetrics.text.endswith("# EOF\n") and "# TYPE outboxd_events counter" in openmetrics.text

    def test_promtool_likes_them(self, ready: Any, admin: Admin) -> None:
        done = subprocess.run(["promtool", "check", "metrics"], input=admin.ask("/metrics").text, text=True,
                              capture_output=True)
        assert done.returncode == 0 and not done.stderr and not done.stdout, done.stdout + done.stderr

    def test_the_holder_of_the_horizon_is_named(self, db: Database, outboxd: OutboxdFactory, admin: Admin) -> None:
        daemon = outboxd(admin_listen=admin.listen)
        init(daemon)
        with db.connect(application_name="nightly report") as holder:
            holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            pid = holder.execute("SELECT pg_backend_pid(), count(*) FROM outbox").fetchone()[0]
            # Nobody can make a transaction old in a test: the query looks for one older than a minute.
            query = (Path(__file__).parents[2] / "sql/queries/horizon.sql").read_text()
            assert "60" in query
            row = db.execute(query.replace("60", "0"))[0]
            assert row[:3] == ("transaction", pid, "nightly report")


class TestStatus:
    def test_one_object(self, ready: Any, db: Database, elastic: Elastic, index: str, admin: Admin) -> None:
        elastic.create_index(index, {"properties": {"n": {"type": "long"}}})
        publish(db, index, "1", {"n": 1})
        publish(db, index, "bad", {"n": "seven"})
        wait_until(lambda: admin.get("/status")["backlog"]["dead"] == 1, COUNT_WAIT, "the count")
        status = admin.get("/status")
        assert status["ready"] is True and status["reasons"] == [] and status["table"] == "outbox"
        assert status["postgres"]["state"] == status["elasticsearch"]["state"] == "up"
        assert status["elasticsearch"]["url"] == elastic.url
        assert status["events"] == {"claimed": 2, "delivered": 1, "superseded": 0, "dead": 1, "waiting": 0, "returned": 0}
        assert status["backlog"]["known"] is True and status["backlog"]["pending"] == 0
        assert status["dead_reasons"] == [{"type": "document_parsing_exception", "count": 1, "first_id": 2}]
        assert 0 < status["delivery_seconds"]["p50"] <= status["delivery_seconds"]["p99"]
        assert [worker["number"] for worker in status["workers"]] == [0, 1, 2, 3]
        assert status["horizon"] is None

    def test_last_errors_newest_first(self, db: Database, outboxd: OutboxdFactory, index: str, admin: Admin) -> None:
        daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=f"http://{HOST}:{free_port()}")
        mark = db.server.log_file.stat().st_size
        daemon.start()
        daemon.wait_log("table_unfit", timeout=20)

        def failed_counts() -> int:
            with db.server.log_file.open() as log:
                log.seek(mark)
                return log.read().count("STATEMENT:  WITH refused AS MATERIALIZED")

        wait_until(lambda: failed_counts() >= 2, 30, "counts of a table that is not there")
        init(daemon)
        daemon.wait_log("elasticsearch_away", timeout=20)
        assert [error["event"] for error in admin.get("/status")["last_errors"]] == ["elasticsearch_away", "table_unfit"]


class TestDeadLetters:
    def test_list_and_requeue(self, ready: Any, db: Database, elastic: Elastic, index: str, admin: Admin) -> None:
        elastic.create_index(index, {"properties": {"n": {"type": "long"}}})
        ids = [publish(db, index, f'<b>"{n}"', {"n": "seven"}) for n in range(3)]
        wait_until(lambda: len(admin.get("/dead")["dead"]) == 3, 30, "dead events")
        listed = admin.get("/dead?limit=2")["dead"]
        assert [each["id"] for each in listed] == ids[:2]
        assert listed[0]["document_id"] == '<b>"0"' and listed[0]["type"] == "document_parsing_exception"
        db.execute("UPDATE outbox SET data = '{\"n\": 7}'")
        assert admin.ask(f"/requeue?id={ids[0]}", "POST").json == {"requeued": 1, "superseded": 0}
        wait_until(lambda: len(admin.get("/dead")["dead"]) == 2, 30, "one less")
        assert admin.ask("/requeue?id=0", "POST").json == {"requeued": 0, "superseded": 0}
        assert admin.ask("/requeue?all=1", "POST").json == {"requeued": 2, "superseded": 0}
        wait_until(lambda: elastic.refresh(index) or elastic.count(index) == 3, 30, "their delivery")

    @pytest.mark.parametrize(("query", "sentence"), [
        ("", "say which"), ("?id=1&all=1", "say which"), ("?all=0", "say which"), ("?all=11", "say which"), ("?all=true", "say which"),
        ("?id=1;drop", "id: a number from"),
        ("?id=99999999999999999999", "id: a number from"), ("?id=", "id wants a value"), ("?id", "id wants a value"),
        ("?all=", "all wants a value"), ("?all", "all wants a value"), ("?id=1%00", "id: a number from"), ("?id=%31%00&all=1", "id: a number from"), ("?all%00=1", "this takes id, all"),
        ("?id=1&id=2", "id is given twice"), ("?all=1&all=1", "all is given twice"), ("?id=1&i%64=2", "id is given twice"),
        ("?all=1&index=x", "this takes id, all"), ("?ALL=1", "this takes id, all"),
    ])
    def test_an_unclear_wish_changes_nothing(self, ready: Any, db: Database, admin: Admin, query: str, sentence: str) -> None:
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data, dead_at, error) VALUES ('x', '1', '{}', now(), '{}')")
        reply = admin.ask(f"/requeue{query}", "POST")
        assert reply.status == 400 and sentence in reply.text
        assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL") == 1

    @pytest.mark.parametrize(("method", "path", "sentence"), [
        ("GET", "/dead?limit=1001", "limit: a number from 1 to 1000"), ("GET", "/dead?limt=5", "this takes limit"),
        ("POST", "/sync?timeout=11m", "at most 10m"), ("POST", "/sync?timeout=1s&timeout=2s", "twice"),
        ("POST", "/pause?for=10m", "no parameters"), ("GET", "/metrics?x=1", "no parameters"), ("GET", "/healthz?", ""),
    ])
    def test_what_is_not_meant_is_not_ignored(self, ready: Any, admin: Admin, method: str, path: str, sentence: str) -> None:
        reply = admin.ask(path, method)
        assert reply.status == (400 if sentence else 200) and sentence in reply.text
        assert admin.get("/status")["paused"] is False


class TestSync:
    def test_everything_that_was_there_is_delivered(self, db: Database, outboxd: OutboxdFactory, elastic: Elastic,
                                                    index: str, admin: Admin) -> None:
        daemon = outboxd(admin_listen=admin.listen, relay_poll_interval="1h")
        init(daemon)
        daemon.start()
        daemon.wait_log("elasticsearch_connected")
        publish_many(db, index, [(str(n), {"n": n}) for n in range(500)])
        answer = admin.ask("/sync", "POST")
        assert answer.status == 200
        assert answer.json["done"] is True and answer.json["delivered"] == 500
        assert not db.value("SELECT count(*) FROM outbox WHERE NOT processed")

    def test_an_empty_queue_is_done_at_once(self, ready: Any, admin: Admin) -> None:
        assert admin.ask("/sync", "POST").json["delivered"] == 0

    def test_the_time_is_over(self, stuck: Any, admin: Admin) -> None:
        answer = admin.ask("/sync?timeout=300ms", "POST")
        assert answer.status == 504 and answer.json["done"] is False and answer.json["delivered"] == 0

    def test_a_client_that_leaves_is_forgotten(self, stuck: Any, admin: Admin) -> None:
        for _ in range(5):
            with socket.create_connection((HOST, admin.port)) as client:
                client.sendall(b"POST /sync?timeout=1s HTTP/1.1\r\nHost: localhost\r\n\r\n")
                time.sleep(0.1)
        assert admin.ask("/healthz").status == 200
        assert stuck.terminate().exit_code == 0

    def test_stopping_answers_whoever_waits(self, stuck: Any, admin: Admin) -> None:
        with connect(admin, b"POST /sync HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
            assert admin.ask("/healthz").status == 200  # what was sent before has been read
            assert stuck.terminate().exit_code == 0
            assert b" 503 " in read_all(client)

    def test_too_many_that_wait_are_refused(self, stuck: Any, admin: Admin) -> None:
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(admin.ask("/sync?timeout=2s", "POST").status))
                   for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses.count(504) == 8 and statuses.count(503) == 4


class TestHold:
    def test_nothing_is_claimed_until_it_goes_on(self, ready: Any, db: Database, index: str, admin: Admin) -> None:
        assert admin.ask("/pause", "POST").json == {"paused": True}
        assert admin.ask("/readyz").text == "paused by an operator\n"
        assert admin.ask("/sync", "POST").status == 409
        publish(db, index, "1", {"n": 1})
        time.sleep(0.5)
        assert db.value("SELECT count(*) FROM outbox WHERE NOT processed") == 1
        assert admin.ask("/resume", "POST").json == {"paused": False}
        wait_until(lambda: not db.value("SELECT count(*) FROM outbox WHERE NOT processed"), 20, "its delivery")


class TestWhoMayAsk:
    @pytest.fixture
    def guarded(self, outboxd: OutboxdFactory, tmp_path: Path) -> tuple[Any, Admin]:
        file = tmp_path / "token"
        file.write_text("s3cret-of-admin\n")
        admin = Admin("s3cret-of-admin")
        daemon = outboxd(admin_listen=admin.listen.replace(HOST, "0.0.0.0"), admin_token_file=file)
        init(daemon)
        daemon.start()
        daemon.wait_log("admin_listens")
        return daemon, admin

    @pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Bearer s3cret-of-admi", "Bearer s3cret-of-adminn",
                                       "Basic s3cret-of-admin", "Bearer S3cret-of-admin"])
    def test_without_the_token(self, guarded: tuple[Any, Admin], given: str) -> None:
        _, admin = guarded
        for path, method in (("/metrics", "GET"), ("/status", "GET"), ("/dead", "GET"), ("/pause", "POST"), ("/resume", "POST"),
                             ("/requeue?all=1", "POST"), ("/requeue?nonsense", "POST"), ("/sync", "POST")):
            reply = admin.ask(path, method, Authorization=given)
            assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer"
        assert admin.ask("/healthz", Authorization=given).status == 200
        assert admin.ask("/", Authorization=given).status == 200

    def test_with_it_and_a_changed_one(self, guarded: tuple[Any, Admin], tmp_path: Path) -> None:
        daemon, admin = guarded
        assert admin.get("/status")["paused"] is False
        (tmp_path / "token").write_text("another\n")
        assert admin.ask("/status").status == 401
        assert admin.ask("/status", Authorization="Bearer another").status == 200
        assert "s3cret" not in daemon.stderr

    def test_a_file_that_cannot_be_read_is_said_once(self, guarded: tuple[Any, Admin], tmp_path: Path) -> None:
        daemon, admin = guarded
        for _ in range(2):
            began = daemon.mark()
            (tmp_path / "token").unlink()
            assert [admin.ask("/status").status for _ in range(3)] == [401] * 3
            (tmp_path / "token").write_text("s3cret-of-admin\n")
            assert [admin.ask("/status").status for _ in range(3)] == [200] * 3
            daemon.wait_log("admin_token_readable", since=began)
            assert len(daemon.logs("admin_token_unreadable", since=began)) == 1
            assert len(daemon.logs("admin_token_readable", since=began)) == 1

    def test_others_need_a_token(self, outboxd: OutboxdFactory, admin: Admin) -> None:
        done = outboxd(admin_listen=f"0.0.0.0:{admin.port}").run("run")
        assert done.exit_code == 78 and "admin.token_file" in done.stderr

    @pytest.mark.parametrize("listen", ["9465", "127.0.0.1", "127.0.0.1:", ":9465", "127.0.0.1:http-nonsense",
                                        "no.such.host.invalid:1"])
    def test_an_address_that_is_none(self, outboxd: OutboxdFactory, listen: str) -> None:
        done = outboxd(admin_listen=listen).run("run")
        assert done.exit_code == 78 and "admin.listen" in done.stderr

    def test_a_port_that_is_taken(self, outboxd: OutboxdFactory, admin: Admin) -> None:
        with socket.create_server((HOST, admin.port)):
            done = outboxd(admin_listen=admin.listen).run("run")
        assert done.exit_code == 78 and "in use" in done.stderr

    def test_a_page_of_another_site(self, ready: Any, admin: Admin) -> None:
        assert admin.ask("/pause", "POST", Origin="https://evil.example").status == 403
        assert admin.ask("/pause", "POST", Origin="null").status == 403
        assert admin.ask("/status", Host="evil.example").status == 403
        for name in ("localhost.evil.example", "bad.cafe", "bad.cafe:80", "[", "]", "[]", "[bad.cafe]:1", ":", "127.0.0.1.x"):
            assert admin.ask("/status", Host=name).status == 403, name
        for name in ("localhost..", ".localhost", "localhost.evil", "localhost:1:1", "localhost:x", "[::1", "[localhost]", "::1"):
            assert admin.ask("/status", Host=name).status == 403, name
        for name in ("localhost", "localhost:1", "LOCALHOST", "localHost.", "Localhost.:9465", "127.0.0.1", "[::1]", "[::1]:9465"):
            assert admin.ask("/status", Host=name).status == 200, name
        assert admin.ask("/pause", "POST", Origin=f"http://{admin.listen}").status == 200
        assert admin.ask("/pause", "POST", Origin="http://localhost:1", Host="LocalHost:1").status == 200

    def test_wrong_paths_and_methods(self, ready: Any, admin: Admin) -> None:
        assert admin.ask("/nothing").status == 404
        assert admin.ask("/pause").status == 405
        assert admin.ask("/metrics", "POST").status == 405
        assert admin.ask("/pause", "POST", body=b"x" * 100).status == 413
        assert admin.ask("/metrics", "HEAD").text == ""

    def test_the_page_may_run_only_what_is_its_own(self, ready: Any, admin: Admin) -> None:
        reply = admin.ask("/")
        assert reply.headers["content-type"].startswith("text/html")
        assert "unsafe" not in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"


class TestSecrets:
    def test_in_nothing_that_it_tells(self, db: Database, tmp_path: Path, outboxd: OutboxdFactory) -> None:
        """Log, metrics, status, readiness, and the commands; a dead letter's reason, which may quote its document, only in
        what asks for dead letters."""
        words = {name: f"{name}-s3cret-word" for name in ("database", "elastic", "admin", "document")}
        for name in ("elastic", "admin"):
            (tmp_path / name).write_text(words[name])
        admin = Admin(words["admin"])
        refused = (400, "document_parsing_exception", f"failed: Preview of value: '{words['document']}'")

        def answer(request: Request) -> Answer | None:
            if not request.is_bulk:
                return None
            refusals = {n: refused for n, action in enumerate(request.actions) if action.id == "bad"}
            return Answer(body=json.dumps(bulk_answer(request.actions, refusals)))

        with ScriptedElastic(answer) as elastic:
            daemon = outboxd(postgres_dsn=db.dsn_with(password=words["database"]), elasticsearch_url=elastic.url,
                             elasticsearch_username="me", elasticsearch_password_file=tmp_path / "elastic",
                             admin_listen=admin.listen, admin_token_file=tmp_path / "admin", log_level="debug")
            init(daemon)
            daemon.start()
            daemon.wait_log("admin_listens")
            for name in ("good", "bad"):
                publish(db, "products", name, {"text": words["document"]})
            wait_until(lambda: admin.metric("outboxd_dead_events") == 1, COUNT_WAIT, "the dead event")
            db.execute("ALTER TABLE outbox RENAME TO gone")
            wait_until(lambda: admin.ask("/readyz").status == 503, 30, "trouble")
            told = [admin.ask(path).text for path in ("/", "/metrics", "/status", "/readyz")]
            db.execute("ALTER TABLE gone RENAME TO outbox")
            assert words["document"] in admin.ask("/dead").text
            for command in (["config"], ["config", "--json"], ["status"], ["status", "--json"], ["check"], ["check", "--json"],
                            ["requeue", "--all", "--dry-run"], ["purge", "--dry-run"]):
                done = daemon.run(*command)
                told += [done.stdout, done.stderr]
            done = daemon.terminate()
        told += [done.stdout, done.stderr]
        assert "events_dead" in done.stderr and "table_unfit" in done.stderr
        for secret in words.values():
            assert not [text for text in told if secret in text], secret


class TestHostileClients:
    def test_noise(self, ready: Any, admin: Admin) -> None:
        rng = random.Random(6)
        words = [b"GET", b"POST", b" /metrics", b" /sync?timeout=", b"1ms", b" HTTP/1.1\r\n", b"Host: ", b"localhost", b"\r\n",
                 b"Content-Length: ", b"9" * 30, b"Transfer-Encoding: chunked\r\n", b"\0", b"%00", b"%", b"?id=1&", b"\xff" * 9,
                 b"Authorization: Bearer ", b"Origin: null", b"/requeue?", b"a" * 9000, b"\r\n\r\n", b"5\r\nhello\r\n"]
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection((HOST, admin.port), timeout=2) as client:
                noise = rng.choices(words, k=rng.randrange(1, 12)) if rng.random() < 0.8 else [rng.randbytes(rng.randrange(2000))]
                client.sendall(b"".join(noise))
                if rng.random() < 0.3:
                    client.shutdown(socket.SHUT_WR)
                if rng.random() < 0.5:
                    client.settimeout(0.05)
                    client.recv(100_000)
        assert admin.ask("/healthz").status == 200

    @pytest.mark.time_limit(90)
    def test_dribblers_do_not_keep_others_out(self, ready: Any, admin: Admin) -> None:
        """More of them than there are places, each with a byte now and then."""
        clients = [socket.create_connection((HOST, admin.port)) for _ in range(40)]
        stop = threading.Event()

        def dribble() -> None:
            while not stop.wait(1):
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.send(b"G")

        thread = threading.Thread(target=dribble)
        thread.start()

        def served() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return admin.ask("/healthz", timeout=2).status == 200
            return False

        try:
            wait_until(served, 60, "a place")
        finally:
            stop.set()
            thread.join()
            for client in clients:
                client.close()

    def test_no_descriptor_is_left(self, ready: Any, admin: Admin) -> None:
        before = admin.metric("process_open_fds")
        for _ in range(200):
            admin.ask("/status")
        wait_until(lambda: admin.metric("process_open_fds") <= before, 10, "closed connections")
