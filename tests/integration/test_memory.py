"""What the daemon holds while it works, and what it does when the machine gives it less than it wants.

The figures are those of a build without sanitizers, whose memory says nothing. They leave room for another libc; a
design that grows with its input is over them at once.
"""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import (Answer, Database, Elastic, FaultProxy, Outboxd, Postgres, ScriptedElastic, insert_events,
                     wait_until)
from harness.outboxd import binary
from harness.ports import HOST
from harness.scratch import Scratch
from harness.scripted_elastic import Request

from admin import Admin
from helpers import init, undelivered

OutboxdFactory = Callable[..., Outboxd]
MB = 1024  # in kB, as figures of memory are
BASE = 40 * MB  # the program itself, its libraries, four workers; measured 13 MB with documents of 420 bytes


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    made = Scratch("memory")
    yield made
    made.remove()


def insert_large(db: Database, count: int, size: int) -> None:
    db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) "
               "SELECT 'large', n, jsonb_build_object('text', repeat('x', %s)) FROM generate_series(1, %s) n", [size, count])


def quiet(request: Request) -> Answer:
    """Success without the trouble of reading the documents: half of the lines are actions."""
    items = [{"index": {"status": 201}}] * (request.body.count(b"\n") // 2)
    return Answer(body=json.dumps({"errors": False, "items": items}))


def test_a_backlog_of_small_documents(db: Database, plain: OutboxdFactory) -> None:
    with ScriptedElastic(quiet) as scripted:
        relay = plain(elasticsearch_url=scripted.url)
        init(relay)
        with db.connect() as connection:
            insert_events(connection, 30_000)
        done = relay.run_once(timeout=60)
    assert done.exit_code == 0
    assert done.peak_rss_kb < BASE


def test_answers_that_nobody_reads(db: Database, plain: OutboxdFactory) -> None:
    """Thirty clients that ask for a list of almost 1 MB and read it very slowly, if at all."""
    admin = Admin()
    with ScriptedElastic(quiet) as scripted:
        relay = plain(elasticsearch_url=scripted.url, admin_listen=admin.listen)
        init(relay)
        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data, dead_at, error) SELECT 'x', n::text, '{}', now(), "
                   "jsonb_build_object('index', 'x', 'id', n, 'reason', repeat('r', 850)) FROM generate_series(1, 1000) n")
        relay.start()
        relay.wait_log("admin_listens")
        wait_until(lambda: admin.ask("/dead").status == 200, 20, "PostgreSQL")
        before = relay.peak_rss_kb()
        clients, statuses = [], []
        for _ in range(30):
            clients.append(socket.socket())
            clients[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            clients[-1].connect((HOST, admin.port))
            clients[-1].sendall(b"GET /dead?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            statuses.append(clients[-1].recv(12))  # one after the other: each is answered, and holds what it does not read
        assert statuses == [b"HTTP/1.1 200"] * 8 + [b"HTTP/1.1 503"] * 22
        for client in clients:
            client.close()
        assert relay.peak_rss_kb() - before < 16 * MB
        assert relay.terminate().exit_code == 0


def test_documents_of_1_mb(db: Database, plain: OutboxdFactory) -> None:
    with ScriptedElastic(quiet) as scripted:
        relay = plain(elasticsearch_url=scripted.url)
        init(relay)
        insert_large(db, 200, 1_000_000)
        done = relay.run_once(timeout=60)
    assert done.exit_code == 0
    assert undelivered(db) == 0
    assert done.peak_rss_kb < BASE + 60 * MB  # a few copies of a document in each of four workers; 200 MB went through


def test_documents_of_30_mb(db: Database, plain: OutboxdFactory) -> None:
    with ScriptedElastic(quiet) as scripted:
        relay = plain(elasticsearch_url=scripted.url, relay_workers=1)
        init(relay)
        insert_large(db, 12, 30_000_000)
        done = relay.run_once(timeout=100)
    assert done.exit_code == 0
    assert undelivered(db) == 0
    assert done.peak_rss_kb < BASE + 8 * 30 * MB  # 360 MB went through


# A million by OUTBOXD_DEAD_ROWS=1000000; CI is content with fewer.
DEAD_ROWS = int(os.environ.get("OUTBOXD_DEAD_ROWS", "200000"))


@pytest.mark.time_limit(600)
@pytest.mark.parametrize("by_hand", [False, True])
def test_many_dead_rows(by_hand: bool, db: Database, plain: OutboxdFactory) -> None:
    """No claim walks over them: also not over those that somebody gave up without an error."""
    with ScriptedElastic(quiet) as scripted:
        relay = plain(elasticsearch_url=scripted.url)
        init(relay)
        with db.connect() as connection:
            insert_events(connection, DEAD_ROWS, document_bytes=100)
            connection.execute("UPDATE outbox SET dead_at = now(), attempts = 1, error = CASE WHEN NOT %s THEN "
                               "jsonb_build_object('type', 't', 'reason', repeat('r', 100), 'index', aggregate_type, "
                               "'id', aggregate_id) END", [by_hand])
            insert_events(connection, 5000, first=DEAD_ROWS + 1)
        done = relay.run_once(timeout=60)
    assert done.exit_code == 0
    assert done.logs("drained")[0]["claimed"] == "5000"
    assert undelivered(db) == DEAD_ROWS
    assert done.peak_rss_kb < BASE
    assert done.seconds < 20
    walked = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE indexrelname ~ 'parked'"
    wait_until(lambda: db.value("SELECT n_tup_upd + n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'outbox'") >= 5000, 20,
               "the statistics")
    assert db.value(walked) < DEAD_ROWS / 2


@pytest.mark.parametrize("kind", ["reasons", "one_reason", "endless", "no_json"])
def test_huge_answers(kind: str, db: Database, plain: OutboxdFactory) -> None:
    """64 MB of error: of it only what fits into a row is kept, and a server that does not end is cut off."""
    refused: list[Request] = []

    def answer(request: Request) -> Answer | None:
        if len(refused) >= 2:
            return quiet(request)
        refused.append(request)
        count = len(request.actions)
        if kind == "no_json":
            return Answer(body=b"x" * 64_000_000)
        if kind == "endless":
            return Answer(body=b'{"items":[' + b" " * 100_000_000)
        sizes = [60_000_000 // count] * count if kind == "reasons" else [60_000_000, *[10] * (count - 1)]
        items = ",".join('{"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"%s"}}}' % ("r" * size)
                         for size in sizes)
        return Answer(body='{"errors":true,"items":[' + items + "]}")

    with ScriptedElastic(answer) as scripted:
        relay = plain(elasticsearch_url=scripted.url, relay_workers=1, relay_batch_rows=20, retry_base="10ms",
                      retry_cap="100ms")
        init(relay)
        with db.connect() as connection:
            insert_events(connection, 100)
        done = relay.run_once(timeout=60)

    assert done.exit_code in (0, 65)
    assert db.value("SELECT coalesce(max(length(error::text)), 0) FROM outbox") < 10_000
    assert db.value("SELECT count(*) FROM outbox WHERE NOT processed AND dead_at IS NULL") == 0
    assert done.peak_rss_kb < BASE + 3 * 64 * MB
    assert len(done.stderr) < 100_000


def wrapped(scratch: Scratch, start: str) -> Path:
    """A program that starts the daemon of the tests in its own way."""
    path = scratch.path / "start"
    path.write_text(f'#!/bin/sh\nexec {start.format(binary=binary())}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_log_that_cannot_be_written(where: str, scratch: Scratch, db: Database, elastic: Elastic, index: str,
                                      outboxd: OutboxdFactory) -> None:
    """No room, or no standard error at all, where the next socket would take its number."""
    init(outboxd())
    with db.connect() as connection:
        insert_events(connection, 300, index=index)
    relay = outboxd(binary_path=wrapped(scratch, '{binary} "$@" ' + where), log_level="debug")

    assert relay.run_once(timeout=30).exit_code == 0

    assert undelivered(db) == 0
    assert len(elastic.all_docs(index)) == 300


def test_no_file_descriptors_are_left(postgres: Postgres, db: Database, elastic: Elastic, index: str,
                                      outboxd: OutboxdFactory) -> None:
    """It cannot connect anew; it waits, and goes on when it can."""
    with FaultProxy(postgres.port) as pg, FaultProxy(elastic.port) as es:
        relay = outboxd(postgres_dsn=db.dsn_with(port=pg.port), elasticsearch_url=es.url, retry_base="10ms",
                        retry_cap="300ms")
        init(outboxd())
        relay.start()
        relay.wait_log("elasticsearch_connected", timeout=30)
        soft, hard = resource.prlimit(relay.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (3, hard))
        es.reset_all()
        with db.connect() as connection:
            insert_events(connection, 300, index=index)
        assert relay.wait_log("elasticsearch_away", timeout=20)
        pg.reset_all()
        relay.wait_log("postgres_away", timeout=20)
        before = relay.cpu_seconds()
        with pytest.raises(TimeoutError):
            wait_until(lambda: not relay.is_alive, 2, "an end that must not come")
        assert relay.cpu_seconds() - before < 1

        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (soft, hard))

        wait_until(lambda: undelivered(db) == 0, 20, "the drain to go on")
        assert len(relay.logs("postgres_away")) <= 2 and len(relay.logs("elasticsearch_away")) == 1


@pytest.mark.parametrize("limit", range(6, 17, 2))
def test_few_file_descriptors(limit: int, scratch: Scratch, db: Database, outboxd: OutboxdFactory) -> None:
    """Too few to begin with: an error that says so, or slow work, but neither a crash nor a loop."""
    with ScriptedElastic() as scripted:
        init(outboxd())
        with db.connect() as connection:
            insert_events(connection, 50)
        relay = outboxd(binary_path=wrapped(scratch, f"prlimit --nofile={limit} {{binary}} \"$@\""), retry_cap="300ms",
                        elasticsearch_url=scripted.url, relay_once_timeout="2s")

        done = relay.run_once(timeout=20)

    assert done.exit_code in (0, 69, 70, 71, 75), done.stderr[-3000:]
    assert done.cpu_seconds < 1.5
    if done.exit_code:
        assert "open files" in done.stderr or "descriptors" in done.stderr
