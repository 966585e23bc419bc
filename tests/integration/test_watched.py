"""Who watches the relay gets what Prometheus can read, costs it next to nothing, and learns no document."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from admin import COUNT_WAIT, Admin
from conftest import OutboxdFactory
from harness import Database, Elastic, wait_until
from harness.ports import HOST
from helpers import dead, init, publish, publish_many, undelivered


class TestFormats:
    def test_prometheus_reads_openmetrics(self, ready: Any, db: Database, index: str, admin: Admin, tmp_path: Path) -> None:
        """Its own parser of that format, in promtool, which wants a time on each sample; none is lost on the way."""
        publish(db, index, "1", {"n": 1})
        wait_until(lambda: undelivered(db) == 0, 30, "a delivery, for the histograms")
        text = admin.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0").text
        samples = [line for line in text.splitlines() if not line.startswith("#")]
        now = int(time.time())
        timed = "".join(f"{line} {now}\n" if line in samples else f"{line}\n" for line in text.splitlines())
        (tmp_path / "metrics").write_text(timed)

        done = subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", tmp_path / "metrics", tmp_path / "tsdb"],
                              text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        head, block = done.stdout.splitlines()
        assert re.split(r"\s{2,}", head)[4] == "NUM SAMPLES", done.stdout
        assert int(block.split()[4]) == len(samples) > 80

        broken = subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", "/dev/stdin", tmp_path / "none"],
                                input=timed.replace("# EOF\n", ""), text=True, capture_output=True)
        assert broken.returncode != 0, "promtool reads anything"


class TestCost:
    SCRAPES = 500

    @pytest.mark.time_limit(180)
    def test_of_a_scrape(self, plain: OutboxdFactory, db: Database, admin: Admin) -> None:
        """Ten a second must cost less than 1% of a core: so 1 ms of the loop's time each, at most, and no question to
        PostgreSQL. Time of the processor, which a busy machine hardly stretches. On one connection, as Prometheus asks."""
        daemon = plain(admin_listen=admin.listen)
        init(daemon)
        daemon.start()
        daemon.wait_log("admin_listens")
        wait_until(lambda: admin.ask("/readyz").status == 200, 30, "readiness")
        wait_until(lambda: admin.metric("outboxd_pending_events") == 0, COUNT_WAIT, "the first count: beside the lock there is none")
        with db.connect() as holder, contextlib.closing(http.client.HTTPConnection(HOST, admin.port, timeout=60)) as prometheus:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE outbox")  # whoever asked it for each scrape would have no answers
            began = daemon.cpu_seconds()
            for _ in range(self.SCRAPES):
                prometheus.request("GET", "/metrics")
                answer = prometheus.getresponse()
                assert answer.status == 200 and b"outboxd_pending_events" in answer.read() and not answer.will_close
            each = (daemon.cpu_seconds() - began) / self.SCRAPES
        assert each < 0.001


class TestSync:
    def test_what_comes_later_is_not_waited_for(self, ready: Any, db: Database, elastic: Elastic, index: str,
                                                admin: Admin) -> None:
        indexes = [index, f"{index}-later"]
        for name in indexes:
            elastic.create_index(name)
            elastic.call("PUT", f"/{name}/_settings", {"index.blocks.write": True})
        try:
            publish(db, index, "1", {"n": 1})
            wait_until(lambda: admin.metric("outboxd_paused_indexes") == 1, 30, "the event to be held back")
            waiting = http.client.HTTPConnection(HOST, admin.port, timeout=90)
            waiting.request("POST", "/sync?timeout=60s")
            for _ in range(3):
                admin.get("/dead")  # questions to the table are answered in their order: after the one for the highest id
            publish(db, indexes[1], "2", {"n": 2})
            wait_until(lambda: admin.metric("outboxd_paused_indexes") == 2, 30, "the later one to be held back too")
            elastic.call("PUT", f"/{index}/_settings", {"index.blocks.write": None})
            answer = waiting.getresponse()
            told = json.loads(answer.read())
            assert answer.status == 200 and told["done"] is True and told["delivered"] == 1
            assert undelivered(db) == 1
        finally:
            elastic.delete_index(indexes[1])


SICK = "a-s3cret-word"


class TestDocuments:
    """PostgreSQL quotes what it cannot read; that is for whoever asks for a dead letter."""

    @pytest.fixture
    def told(self, db: Database, outboxd: OutboxdFactory, admin: Admin) -> Callable[[], list[str]]:
        daemon = outboxd(admin_listen=admin.listen, log_level="debug", outbox_routing="(o.data->>'price')::int::text",
                         retry_cap="300ms")
        init(daemon)
        daemon.start()
        daemon.wait_log("elasticsearch_connected")

        def everything() -> list[str]:
            texts = [admin.ask(path).text for path in ("/", "/metrics", "/status", "/readyz")]
            return [*texts, daemon.run("status").stdout, daemon.terminate().stderr]

        return everything

    def test_an_expression_that_fails_on_one(self, told: Callable[[], list[str]], db: Database, index: str,
                                             admin: Admin) -> None:
        publish(db, index, "bad", {"price": SICK})
        publish_many(db, index, [(str(n), {"price": n}) for n in range(3)])
        wait_until(lambda: admin.metric("outboxd_dead_events") == 1 and undelivered(db) == 1, COUNT_WAIT, "the dead letter")
        texts = told()
        assert SICK in str(dead(db)) and "mapping_expression_failed" in texts[-1]
        assert not [text for text in texts if SICK in text]

    def test_an_expression_that_fails_on_all(self, told: Callable[[], list[str]], db: Database, index: str,
                                             admin: Admin) -> None:
        publish_many(db, index, [(str(n), {"price": SICK}) for n in range(50)])
        wait_until(lambda: "every one of" in admin.ask("/readyz").text, 30, "the reason")
        texts = told()
        assert "event=sql_failed" in texts[-1] and "`outboxd check` says which" in texts[-1] and not dead(db)
        assert not [text for text in texts if SICK in text]

    @pytest.mark.parametrize(("statement", "sqlstate"), [
        ("PERFORM (NEW.data->>'title')::int;", "22P02"), ("RAISE 'no %', NEW.data;", "P0001"),
        ("RAISE 'no %', NEW.data USING ERRCODE = 'OWN01';", "OWN01"),
    ])
    def test_a_trigger_that_fails_on_a_mark(self, told: Callable[[], list[str]], db: Database, index: str, admin: Admin,
                                            statement: str, sqlstate: str) -> None:
        db.execute("CREATE FUNCTION count_prices() RETURNS trigger LANGUAGE plpgsql AS "
                   f"$$BEGIN {statement} RETURN NEW; END$$; "
                   "CREATE TRIGGER prices BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION count_prices()")
        publish(db, index, "1", {"price": 1, "title": SICK})
        wait_until(lambda: f"fails on the data of a row (SQLSTATE {sqlstate})" in admin.ask("/readyz").text, 30, "the reason")
        texts = told()
        assert "event=sql_failed" in texts[-1]
        assert not [text for text in texts if SICK in text]
