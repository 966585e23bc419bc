"""The tests' own tools, against real servers: a tool that cannot fail proves nothing."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest

from harness import (
    Answer,
    Database,
    Elastic,
    ElasticClient,
    FaultProxy,
    History,
    Outboxd,
    Postgres,
    ScriptedElastic,
    insert_events,
    process,
    wait_until,
)
from harness.bulk import filter_path
from harness.logfmt import parse_line

TESTS = Path(__file__).resolve().parent.parent
OUTBOX = """CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event text, aggregate_type text, aggregate_id text, data jsonb)"""
THREE = b"".join(b'{"index":{"_index":"i","_id":"%d","version":7}}\n{"price": 19.90}\n' % n for n in range(3))


def bulk_body(index: str, history: History) -> str:
    lines = []
    for name, (event_id, source) in history.newest.items():
        meta = {"_index": index, "_id": name, "version": event_id, "version_type": "external_gte"}
        lines += [json.dumps({"index" if source else "delete": meta}), *([source] if source else [])]
    return "\n".join(lines) + "\n"


class TestWaiting:
    def test_returns_what_became_true(self) -> None:
        answers = iter([0, None, "here"])
        assert wait_until(lambda: next(answers), 5, "an answer") == "here"

    def test_says_what_it_waited_for(self) -> None:
        with pytest.raises(TimeoutError, match=r"0\.1 s in vain for the moon; last seen: 0"):
            wait_until(lambda: 0, 0.1, "the moon")


class TestPostgres:
    def test_survives_kill9_and_keeps_what_was_committed(self, postgres: Postgres, db: Database) -> None:
        db.execute("CREATE TABLE t AS SELECT 1 AS x")
        with db.connect() as open_session:
            postgres.kill9()
            with pytest.raises(psycopg.OperationalError):
                open_session.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            db.connect()
        postgres.start()
        assert db.value("SELECT x FROM t") == 1

    @pytest.mark.parametrize("mode", ["fast", "immediate"])
    def test_stops_in_every_mode(self, postgres: Postgres, db: Database, mode: str) -> None:
        with db.connect() as session:
            postgres.restart(mode)
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
        assert db.value("SELECT 1") == 1

    def test_pause_freezes_every_session(self, postgres: Postgres, db: Database) -> None:
        with db.connect() as session:
            postgres.pause()
            answer: list[Any] = []
            asker = threading.Thread(target=lambda: answer.append(session.execute("SELECT 1").fetchone()))
            asker.start()
            asker.join(0.3)
            assert asker.is_alive() and not answer
            postgres.resume()
            asker.join(10)
            assert answer == [(1,)]

    def test_socket_and_settings(self) -> None:
        with Postgres(settings={"log_min_messages": "info", "shared_buffers": "1MB"}, fsync=True) as server:
            with server.connect(host=server.socket_folder) as session:
                assert session.execute("SHOW fsync").fetchone() == ("on",)
            assert server.execute("SHOW shared_buffers") == [("1MB",)]
            server.execute("SELECT count(*) FROM generate_series(1, 1000000)")
            assert server.cpu_seconds() > 0.02  # the session that worked is gone, and still counted
            folder = server.scratch.path
        assert not folder.exists()

    def test_start_failure_shows_the_log(self) -> None:
        server = Postgres(settings={"shared_buffers": "nonsense"})
        with pytest.raises(RuntimeError, match="nonsense"):
            server.start()
        server.close()

    def test_does_not_outlive_a_killed_python(self) -> None:
        script = ("from harness import Postgres; p = Postgres(); p.start();"
                  "print(p.pid, p.scratch.path, flush=True); input()")
        child = subprocess.Popen(["/usr/bin/python3", "-c", script], cwd=TESTS, text=True, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        with child:
            assert child.stdout
            pid, folder = child.stdout.readline().split()
            server = int(pid)
            assert process.is_alive(server)
            child.kill()
        wait_until(lambda: not process.is_alive(server), 10, "the server to follow its Python")
        shutil.rmtree(folder)  # the one thing that kill -9 leaves behind

    def test_survives_the_thread_that_started_it(self, postgres: Postgres, db: Database) -> None:
        helper = threading.Thread(target=postgres.restart)
        helper.start()
        helper.join()
        assert db.value("SELECT 1") == 1


class TestElastic:
    def test_sources_come_back_byte_for_byte(self, elastic: Elastic, index: str) -> None:
        elastic.create_index(index)
        source = '{"price":19.90,  "big": 18446744073709551616.5, "text": "}{ \\" \\u20ac é", "b":[{"c":null}, {} ]}'
        reply = elastic.request("PUT", f"/{index}/_doc/a%2Fb?version=41&version_type=external_gte", source)
        assert reply.status == 201, reply.body
        assert elastic.all_docs(index) == {"a/b": (41, source)}
        assert elastic.get(index, "a/b") == (41, source)
        assert elastic.mget(index, ["a/b", "none"]) == {"a/b": (41, source)}
        assert elastic.get(index, "none") is None
        assert elastic.count(index) == 1
        assert elastic.search(index, {"match": {"text": "é"}})[0]["_version"] == 41

    def test_all_docs_reads_past_one_page(self, elastic: Elastic, index: str) -> None:
        elastic.create_index(index)
        body = "".join('{"index":{"_id":"%d"}}\n{"n":%d}\n' % (n, n) for n in range(12_000))
        elastic.call("POST", f"/{index}/_bulk", body)
        documents = elastic.all_docs(index)
        assert len(documents) == 12_000
        assert documents["11999"].source == '{"n":11999}'

    @pytest.mark.time_limit(300)  # it starts a node
    def test_kill9_and_restart_lose_nothing_acknowledged(self, elastic: Elastic, index: str) -> None:
        elastic.create_index(index)
        elastic.call("PUT", f"/{index}/_doc/1", {"n": 1})
        elastic.kill9()
        with pytest.raises(OSError):
            elastic.call("GET", "/_cluster/health")
        elastic.start()
        assert elastic.get(index, "1") == (1, '{"n": 1}')

    def test_pause_freezes_it(self, elastic: Elastic) -> None:
        elastic.ensure_running()
        hasty = ElasticClient(elastic.url, timeout=0.5)
        elastic.pause()
        with pytest.raises(TimeoutError):
            hasty.request("GET", "/_cluster/health")
        elastic.resume()
        assert elastic.request("GET", "/_cluster/health").status == 200


class TestHistory:
    def test_sees_missing_stale_and_extra_documents(self, elastic: Elastic, index: str, db: Database) -> None:
        db.execute(OUTBOX)
        history = History()
        with db.connect() as connection:
            insert_events(connection, 500, keys=100, deletes=0.2, history=history)
        assert db.execute("SELECT DISTINCT length(data::text) FROM outbox WHERE data IS NOT NULL") == [(420,)]
        assert db.value("SELECT count(*) FROM outbox WHERE data IS NULL") == 100
        elastic.create_index(index)
        elastic.call("POST", "/_bulk", bulk_body(index, history))
        history.assert_matches(elastic, index)

        alive = [name for name, event in history.newest.items() if event.source]
        dead = [name for name, event in history.newest.items() if not event.source]
        elastic.call("DELETE", f"/{index}/_doc/{alive[0]}")
        elastic.call("PUT", f"/{index}/_doc/{alive[1]}?version=10000&version_type=external", {"id": 1})
        elastic.call("PUT", f"/{index}/_doc/{dead[0]}?version=10000&version_type=external", {"id": 1})
        elastic.call("PUT", f"/{index}/_doc/stranger", {"id": 1})
        with pytest.raises(AssertionError) as raised:
            history.assert_matches(elastic, index)
        message = str(raised.value)
        assert f"1 missing: {alive[0]}:" in message
        assert f"1 stale: {alive[1]}: must be event" in message
        assert "2 extra" in message and f"{dead[0]}: deleted by event" in message and "stranger: never" in message


class TestScriptedElastic:
    def test_follows_the_script_then_succeeds(self) -> None:
        overload = (429, "es_rejected_execution_exception", "queue full")
        with ScriptedElastic([Answer(items={1: overload}), Answer(503, {"Retry-After": "7"}, b"busy")]) as server:
            client = ElasticClient(server.url)
            first = client.request("POST", "/_bulk", THREE).json()
            assert first["errors"] is True
            assert [item["index"]["status"] for item in first["items"]] == [201, 429, 201]
            assert first["items"][1]["index"]["error"]["reason"] == "queue full"
            second = client.request("POST", "/_bulk", THREE)
            assert (second.status, second.headers["retry-after"], second.body) == (503, "7", b"busy")
            third = client.call("POST", "/_bulk?filter_path=errors,items.*.status,items.*.error.type", THREE)
            assert third == {"errors": False, "items": [{"index": {"status": 201}}] * 3}
            assert [(a.id, a.version, a.source) for a in server.bulks[0].actions] == [
                (str(n), 7, b'{"price": 19.90}') for n in range(3)]
            assert {request.connection for request in server.bulks} == {1}

    def test_filter_path_drops_positions_as_the_real_server_does(self, elastic: Elastic, index: str) -> None:
        elastic.create_index(index, {"dynamic": "strict", "properties": {"price": {"type": "float"}}})
        body = THREE.replace(b'"i"', json.dumps(index).encode()).replace(b"19.90", b'"much"', 1)
        body = body.replace(b',"version":7', b"")
        elastic.call("POST", "/_bulk", body)  # from the second time on, the answer is always the same
        whole = elastic.call("POST", "/_bulk", body)
        for filters in ("errors,items.*.error.type", "errors,items.*.status,items.*.error", "items.index._id", "none"):
            assert filter_path(whole, filters) == elastic.call("POST", f"/_bulk?filter_path={filters}", body)

    def test_takes_a_chunked_request_after_its_100_continue(self) -> None:
        with ScriptedElastic() as server, socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"POST /_bulk HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (50, THREE[:50], len(THREE) - 50, THREE[50:]))
            assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
            assert server.bulks[0].body == THREE

    def test_gzip_in_and_chunks_out(self) -> None:
        with ScriptedElastic([Answer(chunked=True)]) as server:
            client = ElasticClient(server.url)
            reply = client.request("POST", "/_bulk", gzip.compress(THREE), {"content-encoding": "gzip"})
            assert len(reply.json()["items"]) == 3
            assert reply.headers["transfer-encoding"] == "chunked"
            assert server.bulks[0].body == THREE != server.bulks[0].raw_body

    @pytest.mark.parametrize("answer", [Answer(ending="close"), Answer(ending="reset"), Answer(cut_after=20),
                                        Answer(chunked=True, cut_after=20)])
    def test_breaks_connections_as_told(self, answer: Answer) -> None:
        with ScriptedElastic([answer]) as server:
            client = ElasticClient(server.url)
            with pytest.raises((OSError, HTTPException)) as raised:
                client.request("POST", "/_bulk", THREE)
            if answer.ending == "reset":
                assert isinstance(raised.value, ConnectionResetError) and raised.value.errno
            assert len(server.bulks) == 1 and len(server.bulks[0].actions) == 3
            assert client.request("POST", "/_bulk", THREE).status == 200

    def test_callable_script_and_delay(self) -> None:
        with ScriptedElastic(lambda request: Answer(delay=0.3) if b"19.90" in request.body else None) as server:
            began = time.monotonic()
            assert ElasticClient(server.url).request("POST", "/_bulk", THREE).status == 200
            assert time.monotonic() - began >= 0.3
            assert ElasticClient(server.url).request("POST", "/_bulk", b"no newline").status == 400


class TestFaultProxy:
    def test_passes_and_counts_turns(self, postgres: Postgres, db: Database) -> None:
        with FaultProxy(postgres.port) as proxy:
            with db.connect(port=proxy.port) as session:
                connected = proxy.counters.exchanges
                for _ in range(3):
                    session.execute("SELECT 1")
                assert proxy.counters.exchanges == connected + 3
            assert proxy.counters.connections >= 1
            assert proxy.counters.bytes_down > proxy.counters.bytes_up > 0

    def test_refuses_and_serves_again(self, postgres: Postgres, db: Database) -> None:
        with FaultProxy(postgres.port) as proxy:
            session = db.connect(port=proxy.port)
            for _ in range(2):
                proxy.refuse()
                with pytest.raises(psycopg.OperationalError):
                    session.execute("SELECT 1")
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", proxy.port))
                proxy.pass_all()
                session = db.connect(port=proxy.port)
            session.close()

    @pytest.mark.parametrize("part,reached", [("request", 1), ("response", 2)])
    def test_cuts_the_exchange_it_is_told(self, part: Any, reached: int) -> None:
        with ScriptedElastic() as server, FaultProxy(server.port) as proxy:
            client = ElasticClient(proxy.url)
            proxy.cut_exchange(2, part)
            assert client.request("POST", "/_bulk", THREE).status == 200
            # A client of its own: one that has a kept connection would send again by itself.
            with pytest.raises(OSError):
                ElasticClient(proxy.url).request("POST", "/_bulk", THREE)
            proxy.wait_cut()
            assert len(server.bulks) == reached
            assert client.request("POST", "/_bulk", THREE).status == 200
            assert proxy.counters.cuts == 1

    @pytest.mark.parametrize("direction,arrived", [("up", 0), ("down", 1)])
    def test_resets_after_so_many_bytes(self, direction: Any, arrived: int) -> None:
        with ScriptedElastic() as server, FaultProxy(server.port) as proxy:
            proxy.cut_after(100, direction)
            with pytest.raises(OSError):
                ElasticClient(proxy.url).request("POST", "/_bulk", THREE)
            assert len(server.bulks) == arrived
            proxy.pass_all()
            assert ElasticClient(proxy.url).request("POST", "/_bulk", THREE).status == 200

    def test_stall_holds_back_and_lets_go(self) -> None:
        with ScriptedElastic() as server, FaultProxy(server.port) as proxy:
            proxy.stall()
            replies: list[int] = []
            sender = threading.Thread(
                target=lambda: replies.append(ElasticClient(proxy.url).request("POST", "/_bulk", THREE).status))
            sender.start()
            sender.join(0.3)
            assert sender.is_alive() and not server.bulks
            proxy.pass_all()
            sender.join(10)
            assert replies == [200]

    def test_black_hole_and_delay(self) -> None:
        with ScriptedElastic() as server, FaultProxy(server.port) as proxy:
            proxy.black_hole()
            with pytest.raises(TimeoutError):
                ElasticClient(proxy.url, timeout=0.3).request("POST", "/_bulk", THREE)
            assert not server.bulks
            proxy.delay(0.1)
            began = time.monotonic()
            assert ElasticClient(proxy.url).request("POST", "/_bulk", THREE).status == 200
            assert time.monotonic() - began >= 0.2


class TestOutboxd:
    """With a shell script in its place: what is tested is how the harness runs and reads it."""

    @pytest.fixture
    def stand_in(self, tmp_path: Path) -> Any:
        def make(script: str, **settings: Any) -> Outboxd:
            program = tmp_path / "stand-in"
            program.write_text("#!/bin/sh\n" + script)
            program.chmod(0o755)
            return Outboxd(binary_path=program, **settings)

        return make

    def test_settings_arrive_and_nothing_else(self, stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OUTBOXD_RELAY_WORKERS", "9")
        monkeypatch.setenv("PGHOST", "elsewhere")
        done = stand_in("env; echo args $@", relay_notify=False, relay_batch_rows=5).run_once()
        lines = done.stdout.splitlines()
        assert {"OUTBOXD_RELAY_NOTIFY=false", "OUTBOXD_RELAY_BATCH_ROWS=5", "args run --once"} <= set(lines)
        assert not [line for line in lines if line.startswith(("OUTBOXD_RELAY_WORKERS", "PGHOST"))]

    def test_reads_the_log_while_it_runs(self, stand_in: Any) -> None:
        script = 'echo "ts=1 level=warn event=bulk_retry rows=3 error=\\"a \\\\\\"b\\\\\\" c\\"" >&2; exec sleep 60'
        with stand_in(script) as daemon:
            line = daemon.wait_log("bulk_retry", rows=3)
            assert line["error"] == 'a "b" c'
            assert daemon.rss_kb() > 0
            with pytest.raises(TimeoutError, match=r"event=bulk_retry.*4(?s:.*)rows=3"):
                daemon.wait_log("bulk_retry", timeout=0.1, rows=4)
            with pytest.raises(TimeoutError):
                daemon.wait_log("bulk_retry", timeout=0.1, since=daemon.mark())
            assert daemon.terminate().exit_code == -signal.SIGTERM
            with pytest.raises(RuntimeError, match="ended without event=gone"):
                daemon.wait_log("gone")

    def test_measures_and_returns_the_exit_code(self, stand_in: Any) -> None:
        done = stand_in("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 0.3; exit 75").run("status")
        assert done.exit_code == 75
        assert 0.005 < done.cpu_seconds < done.seconds + 0.05
        assert 100 < done.peak_rss_kb < 10_000  # a shell, and not the Python that it was before exec

    def test_a_sanitizer_report_fails(self, stand_in: Any) -> None:
        with pytest.raises(AssertionError, match="runtime error"):
            stand_in("echo 'x.c:1:2: runtime error: signed integer overflow' >&2").run_once()

    def test_a_command_that_hangs_is_killed(self, stand_in: Any, tmp_path: Path) -> None:
        with pytest.raises(TimeoutError, match="did not end"):
            stand_in(f"echo $$ > {tmp_path}/pid; exec sleep 60").run_once(timeout=3)
        assert not process.is_alive(int((tmp_path / "pid").read_text()))

    def test_what_is_no_log_line(self) -> None:
        assert parse_line("==12==ERROR: AddressSanitizer: x") is None
        assert parse_line("usage: outboxd=run") is None
        assert parse_line('ts=1 event=a b="x=1 event=forged"') == {"ts": "1", "event": "a", "b": "x=1 event=forged"}
