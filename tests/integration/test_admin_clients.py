"""The HTTP interface and clients that leave, dawdle, or break the rules; and what was done for them in the end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from admin import Admin
from conftest import OutboxdFactory
from harness import Database, FaultProxy, ScriptedElastic, wait_until
from harness.ports import HOST
from helpers import init, publish, undelivered
from test_admin_faults import DEAD_ROW, in_threads

REQUEUE = b"POST /requeue?all=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(admin: Admin, data: bytes, receive_buffer: int = 0) -> socket.socket:
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(30)
    client.connect((HOST, admin.port))
    client.sendall(data)
    return client


def read_all(client: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            found += piece
    return found


def talk(admin: Admin, data: bytes) -> bytes:
    """All that is answered until the daemon closes, or is silent after the client has closed its side."""
    with connect(admin, data) as client:
        with contextlib.suppress(OSError):  # it may have closed already, with its answer still to be read
            client.shutdown(socket.SHUT_WR)
        return read_all(client)


@contextlib.contextmanager
def edited(db: Database, row: int = 1) -> Iterator[Any]:
    """Somebody is just editing the row; whoever wants to write it waits."""
    with db.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE outbox SET data = '{\"n\": 2}' WHERE id = %s", [row])
        yield connection
        connection.execute("COMMIT")


def wait_for_the_row(db: Database) -> int:
    """Until a session waits for it; its pid."""
    waiting = "SELECT min(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(wait_until(lambda: db.value(waiting), 20, "the request to wait for the row"))


@pytest.fixture
def dead(db: Database, outboxd: OutboxdFactory, admin: Admin) -> Iterator[Any]:
    """A relay that polls once an hour, and a dead row of id 1."""
    with ScriptedElastic() as elastic:
        daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, relay_poll_interval="1h",
                         relay_shutdown_timeout="1s")
        init(daemon)
        db.execute(DEAD_ROW, ["x", "y", 1])
        daemon.start()
        daemon.wait_log("admin_listens")
        wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")
        yield daemon
        daemon.close()


class TestRequeue:
    def test_a_row_that_is_being_edited(self, dead: Any, db: Database, admin: Admin) -> None:
        with edited(db):
            (thread,), replies = in_threads(1, lambda: admin.ask("/requeue?all=1", "POST"))
            wait_for_the_row(db)
        thread.join()
        assert replies[0].json == {"requeued": 1, "superseded": 0}
        wait_until(lambda: undelivered(db) == 0, 20, "its delivery")

    def test_a_row_that_somebody_else_deals_with(self, dead: Any, db: Database, admin: Admin) -> None:
        with edited(db) as connection:
            connection.execute("UPDATE outbox SET processed = true")
            (thread,), replies = in_threads(1, lambda: admin.ask("/requeue?id=1", "POST"))
            wait_for_the_row(db)
        thread.join()
        assert replies[0].json == {"requeued": 0, "superseded": 0}
        assert db.execute("SELECT processed, dead_at IS NULL FROM outbox") == [(True, False)]

    @pytest.mark.parametrize("half", [False, True])
    def test_the_client_has_gone_before_its_end(self, dead: Any, db: Database, admin: Admin, half: bool) -> None:
        with edited(db):
            client = connect(admin, REQUEUE)
            wait_for_the_row(db)
            if half:
                client.shutdown(socket.SHUT_WR)
            else:
                client.close()
            time.sleep(1.5)  # who has left is looked for once a second
        dead.wait_log("requeued", events=1)
        wait_until(lambda: undelivered(db) == 0, 20, "its delivery, though nobody asks")
        if half:
            assert b'{"requeued":1,"superseded":0}' in read_all(client)
            client.close()

    def test_the_session_is_lost(self, dead: Any, db: Database, admin: Admin) -> None:
        with edited(db):
            (thread,), replies = in_threads(1, lambda: admin.ask("/requeue?all=1", "POST"))
            db.execute("SELECT pg_terminate_backend(%s)", [wait_for_the_row(db)])
            thread.join()
        assert replies[0].status == 503 and "it may have been done" in replies[0].text

    def test_a_stop_in_its_middle(self, dead: Any, db: Database, admin: Admin) -> None:
        with edited(db):
            (thread,), replies = in_threads(1, lambda: admin.ask("/requeue?all=1", "POST"))
            wait_for_the_row(db)
            done = dead.terminate()
            thread.join()
        assert replies[0].status == 503 and replies[0].text == "stopping; it may have been done: look at /dead\n"
        assert done.exit_code == 0 and done.logs("requeue_unknown")

    def test_too_long_a_wait_for_a_lock(self, dead: Any, db: Database, admin: Admin) -> None:
        with edited(db):
            reply = admin.ask("/requeue?all=1", "POST")
        assert reply.status == 503 and "lock timeout; nothing was done" in reply.text

    def test_a_stop_before_its_beginning(self, db: Database, outboxd: OutboxdFactory, admin: Admin) -> None:
        with FaultProxy(db.server.port) as proxy, ScriptedElastic() as elastic:
            daemon = outboxd(admin_listen=admin.listen, elasticsearch_url=elastic.url, relay_shutdown_timeout="1s",
                             postgres_dsn=db.dsn_with(port=proxy.port))
            init(daemon)
            db.execute(DEAD_ROW, ["x", "y", 1])
            daemon.start()
            daemon.wait_log("admin_listens")
            wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")
            proxy.stall()
            first = connect(admin, b"GET /dead HTTP/1.1\r\nHost: localhost\r\n\r\n")  # or a count is under way
            assert admin.ask("/healthz").status == 200
            second = connect(admin, REQUEUE)
            assert admin.ask("/healthz").status == 200
            done = daemon.terminate()
            with first, second:
                assert b"stopping; nothing was done" in read_all(second)
        assert not done.logs("requeue_unknown")
        assert db.value("SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL") == 1


class TestPlaces:
    def test_answers_that_nobody_reads_hold_few_places(self, ready: Any, db: Database, admin: Admin) -> None:
        """Each holds its memory until it was read: so they are as few as the places, and of a limited size."""
        db.execute(DEAD_ROW, ["x", "r" * 850, 1000])
        size = len(admin.ask("/dead?limit=1000").text)
        assert 900_000 < size < 1_000_000
        ask = b"GET /dead?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        clients = [connect(admin, ask, receive_buffer=2048) for _ in range(8)]
        try:
            for client in clients:
                assert client.recv(15) == b"HTTP/1.1 200 OK"
            reply = admin.ask("/dead")
            assert (reply.status, reply.text) == (503, "too many requests wait already\n")
            assert admin.ask("/metrics").status == 200
            assert len(read_until(clients[0], size)) >= size
            wait_until(lambda: admin.ask("/dead").status == 200, 10, "its place")
        finally:
            for client in clients:
                client.close()

    def test_unread_bytes_do_not_hide_that_a_client_left(self, stuck: Any, admin: Admin) -> None:
        for _ in range(8):
            connect(admin, b"POST /sync?timeout=10m HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\n").close()
        wait_until(lambda: admin.ask("/sync?timeout=1ms", "POST").status == 504, 10, "a place")


def read_until(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := client.recv(65536)):
        found += piece
    return found


class TestRules:
    @pytest.mark.parametrize(("request_line", "status"), [
        (b"GET /healthz HTTP/1.1", 200), (b"GET http://localhost/healthz HTTP/1.1", 404), (b"GET //healthz HTTP/1.1", 404),
        (b"GET /health%7A HTTP/1.1", 200), (b"GET /healthz%00 HTTP/1.1", 404), (b"GET /%2e%2e/healthz HTTP/1.1", 404),
        (b"PUT /pause HTTP/1.1", 405), (b"OPTIONS /pause HTTP/1.1", 405), (b"OPTIONS * HTTP/1.1", 404), (b"DELETE /dead HTTP/1.1", 405),
        (b"post /pause HTTP/1.1", 405), (b"HEAD /pause HTTP/1.1", 405), (b"GET /pause HTTP/1.1", 405), (b"TRACE / HTTP/1.1", 405),
    ])
    def test_methods_and_targets(self, ready: Any, admin: Admin, request_line: bytes, status: int) -> None:
        answer = talk(admin, request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert (status == 405) == (b"\r\nAllow: " in answer)
        assert admin.get("/status")["paused"] is False

    @pytest.mark.parametrize("head", [
        b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ])
    def test_a_body_changes_nothing(self, ready: Any, admin: Admin, head: bytes) -> None:
        assert b" 413 " in talk(admin, b"POST /pause HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + head)
        assert admin.get("/status")["paused"] is False

    @pytest.mark.parametrize("head", [
        b"Content-Length: 50\r\n\r\nhello", b"Content-Length: -1\r\n\r\n", b"Content-Length: x\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"X: " + b"x" * 40_000 + b"\r\n\r\n", b"X: y\r\n" * 5000 + b"\r\n",
    ])
    def test_lies_and_huge_headers(self, ready: Any, admin: Admin, head: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            assert b" 200 " not in talk(admin, b"POST /pause HTTP/1.1\r\nHost: localhost\r\n" + head)
        assert admin.get("/status")["paused"] is False

    def test_requests_in_one_piece_are_answered_in_order(self, ready: Any, admin: Admin) -> None:
        paths = [b"GET /healthz", b"GET /dead", b"POST /sync?timeout=5s", b"GET /nothing", b"GET /healthz"]
        data = b"".join(path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths[:-1])
        with connect(admin, data + paths[-1] + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as client:
            answer = read_all(client)
        statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [200, 200, 200, 404, 200]

    def test_thirty_scrapers(self, ready: Any, admin: Admin) -> None:
        statuses: list[int] = []

        def scrape() -> None:
            for _ in range(20):
                statuses.append(admin.ask("/metrics").status)

        threads = [threading.Thread(target=scrape) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 600
